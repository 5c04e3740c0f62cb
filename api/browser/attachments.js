// Uploads files from a page to the store, with tickets that the page's backend gets from the
// attachments service. A page never has a token of the service.

/**
 * The part of the service's answer that lets a page upload one file.
 *
 * @typedef {object} Ticket
 * @property {Record<string, string>} aws_policy fields of the form, sent unchanged
 * @property {string} upload_url address of the store to which the form is posted
 * @property {string | null} status_url signed address of the attachment's status
 * @property {string} expires_at end of the policy, in ISO 8601
 */

/**
 * Gets a ticket for a file. `ended` is the ticket that has ended, or null for the first ticket: a
 * backend should then renew the policy of the same attachment.
 *
 * @callback GetTicket
 * @param {File} file
 * @param {{ended: Ticket | null, signal: AbortSignal | undefined}} options
 * @returns {Promise<Ticket>}
 */

/**
 * `loaded` and `total` are bytes of the form, so a little more than the file.
 *
 * @typedef {object} Progress
 * @property {"queued" | "uploading" | "retrying" | "processing"} phase
 * @property {number} loaded
 * @property {number} total
 */

/**
 * @typedef {object} Result
 * @property {string} id
 * @property {"ready" | "rejected" | "failed"} state
 * @property {{code: string, detail: string} | null} reason null if `state` is `ready`
 * @property {string} url
 * @property {string | null} thumb address of the thumbnail; null if there is none
 */

/**
 * @typedef {object} UploadOptions
 * @property {Ticket | GetTicket} ticket
 * @property {(progress: Progress) => void} [onProgress]
 * @property {AbortSignal} [signal]
 * @property {boolean} [replaces] true if the attachment has a file already
 * @property {number} [retries] network faults in a row after which an upload fails; 8 unless given
 */

const FINAL = ["ready", "rejected", "failed"];
const WAIT_S = 20;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const SIDE_BY_SIDE = 6;

/** An upload that did not end in a final state; `maxBytes` is the limit of a file too large. */
export class UploadError extends Error {
  /**
   * @param {"aborted" | "network" | "refused" | "ticket_ended" | "too_large"} code
   * @param {string} message
   * @param {{status?: number, maxBytes?: number}} [more]
   */
  constructor(code, message, more = {}) {
    super(message);
    this.name = "UploadError";
    this.code = code;
    this.status = more.status;
    this.maxBytes = more.maxBytes;
  }
}

/** Runs at most `limit` tasks at a time, in the order in which they came. */
export class Queue {
  /** @param {number} limit */
  constructor(limit) {
    this.free = limit;
    /** @type {(() => void)[]} */
    this.waiting = [];
  }

  /**
   * @template T
   * @param {() => Promise<T>} task
   * @returns {Promise<T>}
   */
  async run(task) {
    if (this.free > 0) this.free -= 1;
    else await new Promise((resolve) => this.waiting.push(() => resolve(undefined)));
    try {
      return await task();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free += 1;
    }
  }
}

// One queue for the whole page. A place is held until the store has the file.
const posting = new Queue(SIDE_BY_SIDE);
let following = 0;

/**
 * Upload a file and wait for the final state of its attachment.
 *
 * Six files at a time are sent to the store; further ones wait. Network faults, and answers that
 * ask for patience (429, 5xx), are retried with growing pauses. If the ticket has ended and
 * `ticket` is a function, the function is called for a new one.
 *
 * Rejects with an `UploadError`, or with the error of `ticket`.
 *
 * @param {File} file
 * @param {UploadOptions} options
 * @returns {Promise<Result>}
 */
export async function upload(file, options) {
  const report = options.onProgress ?? (() => {});
  report({phase: "queued", loaded: 0, total: file.size});
  const {ticket, before} = await posting.run(() => send(file, options, report));
  report({phase: "processing", loaded: file.size, total: file.size});
  return follow(ticket, before, options);
}

/**
 * Return the largest file, in bytes, that a ticket allows, or null if that cannot be read.
 *
 * @param {Ticket} ticket
 */
export function maxBytes(ticket) {
  try {
    const policy = JSON.parse(atob(ticket.aws_policy.policy ?? ""));
    for (const rule of policy.conditions) {
      if (Array.isArray(rule) && rule[0] === "content-length-range") return Number(rule[2]);
    }
  } catch {
    // The store judges the size.
  }
  return null;
}

/**
 * Return the files of a drop, of a paste, or of a chosen input.
 *
 * @param {Event} event
 */
export function filesOf(event) {
  if (event instanceof DragEvent) return [...(event.dataTransfer?.files ?? [])];
  if (event instanceof ClipboardEvent) return [...(event.clipboardData?.files ?? [])];
  return event.target instanceof HTMLInputElement ? [...(event.target.files ?? [])] : [];
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
  const {signal} = stop;
  /** @param {DragEvent} event */
  const over = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    element.toggleAttribute("data-dragged", true);
  };
  const leave = () => element.toggleAttribute("data-dragged", false);
  /** @param {Event} event */
  const taken = (event) => {
    leave();
    const files = filesOf(event);
    if (files.length === 0) return;
    event.preventDefault();
    take(files);
  };
  element.addEventListener("dragenter", over, {signal});
  element.addEventListener("dragover", over, {signal});
  element.addEventListener("dragleave", leave, {signal});
  element.addEventListener("drop", taken, {signal});
  element.addEventListener("paste", taken, {signal});
  return () => stop.abort();
}

/** @param {AbortSignal | undefined} signal */
function check(signal) {
  if (signal?.aborted) throw new UploadError("aborted", "the upload was aborted");
}

/**
 * Send a file to the store, with a new ticket if the first one has ended.
 *
 * @param {File} file
 * @param {UploadOptions} options
 * @param {(progress: Progress) => void} report
 */
async function send(file, options, report) {
  const {signal} = options;
  const pauses = new Pauses(options);
  const get = typeof options.ticket === "function" ? options.ticket : null;
  let ticket = get ? await get(file, {ended: null, signal}) : /** @type {Ticket} */ (options.ticket);
  const before = options.replaces ? (await readStatus(ticket, 0, pauses, options)).url : null;
  for (let renewed = false; ; ) {
    check(signal);
    const most = maxBytes(ticket);
    if (most !== null && file.size > most) {
      throw new UploadError("too_large", `the file is larger than ${most} bytes`, {maxBytes: most});
    }
    let answer = {status: 403, text: ""};
    const ended = Date.now() >= Date.parse(ticket.expires_at);
    if (!ended || !get || renewed) {
      answer = await post(file, ticket, signal, (loaded, total) => {
        report({phase: "uploading", loaded, total});
      });
    }
    check(signal);
    const {status, text} = answer;
    if (status >= 200 && status < 300) return {ticket, before};
    if (status === 0 || status === 429 || status >= 500) {
      report({phase: "retrying", loaded: 0, total: file.size});
      await pauses.next();
      renewed = false;
    } else if (text.includes("EntityTooLarge")) {
      throw new UploadError("too_large", "the file is too large", {status, maxBytes: most ?? 0});
    } else if (status === 403 && get && !renewed) {
      // The clock of this computer may be wrong, so the store's answer counts, not `expires_at`.
      ticket = await get(file, {ended: ticket, signal});
      renewed = true;
    } else {
      const code = status === 403 && ended ? "ticket_ended" : "refused";
      throw new UploadError(code, `the store refused the file (status ${status})`, {status});
    }
  }
}

/**
 * Post the form; `status` is 0 after a network fault. `fetch` reports no progress of an upload.
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
    request.upload.onprogress = (event) => progress(event.loaded, event.total);
    request.onloadend = () => {
      signal?.removeEventListener("abort", abort);
      resolve({status: request.status, text: request.responseText});
    };
    signal?.addEventListener("abort", abort);
    request.open("POST", ticket.upload_url);
    request.send(form);
  });
}

/**
 * Ask for the status until it is final.
 *
 * @param {Ticket} ticket
 * @param {string | null} before the address of a file that is replaced
 * @param {UploadOptions} options
 * @returns {Promise<Result>}
 */
async function follow(ticket, before, options) {
  const pauses = new Pauses(options);
  following += 1;
  try {
    for (;;) {
      // Browsers open six connections to a host, so many uploads wait for shorter times.
      const wait = Math.max(1, Math.floor(WAIT_S / Math.ceil(following / SIDE_BY_SIDE)));
      const result = await readStatus(ticket, wait, pauses, options);
      if (FINAL.includes(result.state) && result.url !== before) return result;
      if (result.url === before) await pauses.next();
    }
  } finally {
    following -= 1;
  }
}

/**
 * @param {Ticket} ticket
 * @param {number} wait seconds
 * @param {Pauses} pauses
 * @param {UploadOptions} options
 * @returns {Promise<Result>}
 */
async function readStatus(ticket, wait, pauses, {signal}) {
  if (ticket.status_url === null) {
    throw new UploadError("refused", "the service signs no addresses of a status");
  }
  for (;;) {
    const answer = await fetch(`${ticket.status_url}&wait=${wait}`, {signal}).catch(() => null);
    check(signal);
    if (answer?.ok) {
      pauses.reset();
      const {id, attributes, meta} = (await answer.json()).data;
      return {id, ...attributes, ...meta};
    }
    if (answer?.status === 404) {
      throw new UploadError("ticket_ended", "the attachment can no longer be seen", {status: 404});
    }
    await pauses.next(Number(answer?.headers.get("Retry-After") ?? 0) * 1000);
  }
}

/** The pauses before retries. They double, and end when the page is online again. */
class Pauses {
  /** @param {UploadOptions} options */
  constructor({signal, retries = 8}) {
    this.signal = signal;
    this.retries = retries;
    this.faults = 0;
  }

  reset() {
    this.faults = 0;
  }

  /** @param {number} [leastMs] */
  async next(leastMs = 0) {
    const {signal} = this;
    if (navigator.onLine && this.faults >= this.retries) {
      throw new UploadError("network", "the network or the service does not answer");
    }
    const usual = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.faults);
    this.faults += 1;
    await new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        removeEventListener("online", done);
        signal?.removeEventListener("abort", done);
        resolve(undefined);
      };
      // The random part keeps pages from retrying at the same moment.
      const timer = setTimeout(done, Math.max(leastMs, usual * (0.5 + Math.random() / 2)));
      addEventListener("online", done);
      signal?.addEventListener("abort", done);
    });
    check(signal);
  }
}
