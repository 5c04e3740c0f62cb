// Uploads files from a page to the store, with tickets that the page's backend gets from the service
// of attachments. A page never has a token.

import {Pauses, UploadError, aborted, check} from "./attachment-retries.js";

export {UploadError};

/**
 * The part of the service's answer that lets a page upload one file.
 *
 * @typedef {{aws_policy: Record<string, string>, upload_url: string, status_url: string | null,
 *   expires_at: string}} Ticket
 */

/**
 * Gets a ticket for a file. `ended` is the ticket that has ended, whose attachment should get a new
 * policy; null for the first ticket.
 *
 * @typedef {(file: File, options: {ended: Ticket | null, signal: AbortSignal | undefined}) =>
 *   Promise<Ticket>} GetTicket
 */

/**
 * `loaded` and `total` are bytes.
 *
 * @typedef {{phase: "queued" | "uploading" | "retrying" | "processing", loaded: number,
 *   total: number}} Progress
 */

/**
 * The final state. A `ready` attachment may have a reason too, such as `damaged`.
 *
 * @typedef {{id: string, state: "ready" | "rejected" | "failed", url: string, thumb: string | null,
 *   reason: {code: string, detail: string} | null}} Result
 */

/**
 * `replaces` says that the attachment has a file already. `retries` is the number of faults in a row
 * after which an upload fails; 8 unless given.
 *
 * @typedef {{ticket: Ticket | GetTicket, onProgress?: (progress: Progress) => void,
 *   signal?: AbortSignal, replaces?: boolean, retries?: number}} UploadOptions
 */

const FINAL = ["ready", "rejected", "failed"];
const WAIT_S = 20;
const SIDE_BY_SIDE = 6;
const STALL_MS = 60_000;

let free = SIDE_BY_SIDE;
let following = 0;
/** @type {Set<() => void>} */
const waiting = new Set();

/**
 * Run a task when one of the page's places is free. It is held until the store has the file.
 *
 * @template T
 * @param {() => Promise<T>} task
 * @param {AbortSignal} [signal]
 */
async function inTurn(task, signal) {
  if (free > 0) free -= 1;
  else {
    await new Promise((begin, refuse) => {
      const turn = () => begin(0);
      waiting.add(turn);
      signal?.addEventListener("abort", () => waiting.delete(turn) && refuse(aborted()));
    });
  }
  try {
    return await task();
  } finally {
    const [next] = waiting;
    if (next) next();
    else free += 1;
    if (next) waiting.delete(next);
  }
}

/**
 * Upload a file and wait for the final state of its attachment.
 *
 * Six files at a time are sent to the store. Network faults, and answers that ask for patience
 * (429, 5xx), are retried with growing pauses. If the ticket has ended and `ticket` is a function,
 * the function is called for a new one. Rejects with an `UploadError`, or the error of `ticket`.
 *
 * @param {File} file
 * @param {UploadOptions} options
 */
export async function upload(file, options) {
  const report = options.onProgress ?? (() => {});
  check(options.signal);
  report({phase: "queued", loaded: 0, total: file.size});
  const {ticket, before} = await inTurn(() => send(file, options, report), options.signal);
  report({phase: "processing", loaded: file.size, total: file.size});
  return follow(ticket, before, options);
}

/** @param {Ticket} ticket @returns the largest allowed file in bytes; null if it is unknown */
export function maxBytes(ticket) {
  try {
    for (const rule of JSON.parse(atob(ticket.aws_policy.policy ?? "")).conditions) {
      if (rule[0] === "content-length-range") return Number(rule[2]);
    }
  } catch {
    // The store judges the size.
  }
  return null;
}

/** @param {any} event a drop, a paste, or the change of an input @returns {File[]} */
export function filesOf(event) {
  return [...((event.dataTransfer ?? event.clipboardData ?? event.target)?.files ?? [])];
}

/**
 * Call `take` with files that are dropped on or pasted into an element, until the returned function
 * is called. The element has the attribute `data-dragged` while files are above it.
 *
 * @param {HTMLElement} element
 * @param {(files: File[]) => void} take
 */
export function takeFiles(element, take) {
  const stop = new AbortController();
  /** @param {any} event */
  const handle = (event) => {
    const isOver = event.type === "dragenter" || event.type === "dragover";
    const isFile = event.dataTransfer?.types.includes("Files") === true;
    element.toggleAttribute("data-dragged", isOver && isFile);
    const files = isOver ? [] : filesOf(event);
    if (isOver ? isFile : files.length > 0) event.preventDefault();
    if (files.length > 0) take(files);
  };
  for (const each of ["dragenter", "dragover", "dragleave", "drop", "paste"]) {
    element.addEventListener(each, handle, {signal: stop.signal});
  }
  return () => stop.abort();
}

/**
 * @param {File} file
 * @param {UploadOptions} options
 * @param {(progress: Progress) => void} report
 */
async function send(file, options, report) {
  const {signal, ticket: given} = options;
  const pauses = new Pauses(options);
  const retry = async (/** @type {unknown} */ fault = undefined) => {
    report({phase: "retrying", loaded: 0, total: file.size});
    await pauses.next(0, fault);
  };
  const renewable = typeof given === "function";
  const next = async (/** @type {Ticket | null} */ ended) => {
    for (;;) {
      try {
        return renewable ? await given(file, {ended, signal}) : given;
      } catch (error) {
        check(signal);
        if (!(error instanceof TypeError)) throw error; // `fetch`'s network fault
        await retry(error);
      }
    }
  };
  let ticket = await next(null);
  const before = options.replaces ? (await readStatus(ticket, 0, pauses)).url : null;
  for (let renewed = !renewable; ; ) {
    check(signal);
    const most = maxBytes(ticket);
    if (most !== null && file.size > most) {
      throw new UploadError("too_large", "the file is too large", {maxBytes: most});
    }
    const ended = Date.now() >= Date.parse(ticket.expires_at);
    const {status, text} =
      ended && !renewed
        ? {status: 403, text: ""}
        : await post(file, ticket, signal, (loaded, total) => {
            report({phase: "uploading", loaded, total});
          });
    check(signal);
    if (status >= 200 && status < 300) return {ticket, before};
    if (status === 0 || status === 429 || status >= 500) {
      await retry();
      renewed = !renewable;
    } else if (text.includes("EntityTooLarge")) {
      throw new UploadError("too_large", "the file is too large", {status});
    } else if (status === 403 && !renewed) {
      // This computer's clock may be wrong, so the store's answer counts.
      ticket = await next(ticket);
      renewed = true;
    } else {
      const code = status === 403 && ended ? "ticket_ended" : "refused";
      throw new UploadError(code, `the store answered ${status}`, {status});
    }
  }
}

/**
 * Post the form; `status` is 0 after a fault, or if nothing happens for STALL_MS. `fetch` reports
 * no progress of an upload.
 *
 * @param {File} file
 * @param {Ticket} ticket
 * @param {AbortSignal | undefined} signal
 * @param {(loaded: number, total: number) => void} progress
 * @returns {Promise<{status: number, text: string}>}
 */
function post(file, ticket, signal, progress) {
  const form = new FormData();
  for (const [name, value] of Object.entries(ticket.aws_policy)) form.append(name, value);
  form.append("file", file);
  const request = new XMLHttpRequest();
  return new Promise((resolve) => {
    const abort = () => request.abort();
    let timer = setTimeout(abort, STALL_MS);
    request.upload.onprogress = ({loaded, total}) => {
      clearTimeout(timer);
      timer = setTimeout(abort, STALL_MS);
      progress(loaded, total);
    };
    request.onloadend = () => {
      clearTimeout(timer);
      resolve({status: request.status, text: request.responseText});
    };
    signal?.addEventListener("abort", abort);
    request.open("POST", ticket.upload_url);
    request.send(form);
  });
}

/**
 * @param {Ticket} ticket
 * @param {string | null} before the address of a file that is replaced
 * @param {UploadOptions} options
 * @returns {Promise<Result>}
 */
async function follow(ticket, before, options) {
  const pauses = new Pauses(options);
  following += 1;
  try {
    for (let same = 0; ; ) {
      // Browsers open six connections to a host: many uploads wait less.
      const wait = Math.max(1, Math.floor(WAIT_S / Math.ceil(following / SIDE_BY_SIDE)));
      const began = Date.now();
      const result = await readStatus(ticket, wait, pauses);
      // The address stays until the new file is known, and for ever if its bytes are the same.
      if (FINAL.includes(result.state) && (result.url !== before || (same += 1) > 15)) return result;
      if (String(result.state) === "expired") {
        throw new UploadError("ticket_ended", "the time for this upload is over");
      }
      await new Promise((resolve) => setTimeout(resolve, began + 1000 - Date.now()));
    }
  } finally {
    following -= 1;
  }
}

/**
 * @param {Ticket} ticket
 * @param {number} wait seconds
 * @param {Pauses} pauses
 * @returns {Promise<Result>}
 */
async function readStatus(ticket, wait, pauses) {
  const {signal} = pauses;
  if (ticket.status_url === null) {
    throw new UploadError("refused", "there is no address of a status");
  }
  for (;;) {
    check(signal);
    const stop = new AbortController();
    const abort = () => stop.abort();
    const timer = setTimeout(abort, wait * 1000 + STALL_MS);
    signal?.addEventListener("abort", abort);
    let leastMs = 0;
    try {
      const answer = await fetch(`${ticket.status_url}&wait=${wait}`, {signal: stop.signal});
      if (answer.ok) {
        const {id, attributes, meta} = (await answer.json()).data;
        pauses.faults = 0;
        return {id, ...attributes, ...meta};
      }
      if (answer.status === 404) {
        throw new UploadError("ticket_ended", "the time for this upload is over", answer);
      }
      leastMs = (Number(answer.headers.get("Retry-After")) || 0) * 1000;
    } catch (error) {
      if (error instanceof UploadError) throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
    await pauses.next(leastMs);
  }
}
