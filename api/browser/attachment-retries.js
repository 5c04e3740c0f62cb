// The fault that ends an upload, and the pauses before an upload is tried again.

/** @typedef {import("./attachments.js").UploadOptions} UploadOptions */

/** An upload without a final state; `maxBytes` is the limit if the file is too large. */
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

/** @returns the error of an upload that the page has aborted */
export const aborted = () => new UploadError("aborted", "it was aborted");
/** @param {AbortSignal | undefined} signal */
export function check(signal) {
  if (signal?.aborted) throw aborted();
}

/** The pauses before retries. They double, and end when the page is online again. */
export class Pauses {
  /** @param {UploadOptions} options */
  constructor({signal, retries = 8}) {
    this.signal = signal;
    this.retries = retries;
    this.faults = 0;
  }

  /** @param {unknown} [fault] thrown when no retry is left */
  async next(leastMs = 0, fault = undefined) {
    if (navigator.onLine && this.faults >= this.retries) {
      throw fault ?? new UploadError("network", "the service does not answer");
    }
    check(this.signal);
    const usual = Math.min(15_000, 500 * 2 ** this.faults);
    if (navigator.onLine) this.faults += 1;
    await new Promise((resolve) => {
      // The random part keeps pages from retrying together.
      setTimeout(resolve, Math.max(leastMs, usual * (0.5 + Math.random() / 2)));
      addEventListener("online", resolve, {once: true});
      this.signal?.addEventListener("abort", resolve, {once: true});
    });
    check(this.signal);
  }
}
