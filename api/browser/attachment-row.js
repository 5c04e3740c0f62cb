// The texts of <attachment-upload>, and one upload in its list.

import {UploadError} from "./attachments.js";

/** @typedef {import("./attachments.js").Progress} Progress */
/** @typedef {import("./attachments.js").Result} Result */

/**
 * The texts, which a page may replace by the property `texts`. `{…}` are filled in: `{detail}` by
 * `reason_` and the code of the reason, such as `reason_damaged`, or else by the service's sentence.
 */
export const TEXTS = {
  choose: "Choose files",
  hint: "or drop or paste them here",
  list: "Uploads",
  queued: "waiting",
  uploading: "uploading, {percent} %",
  retrying: "connection lost, trying again",
  processing: "processing",
  ready: "done",
  ready_but: "done; {detail}",
  cancel: "Cancel {name}",
  cancelled: "cancelled",
  retry: "Try {name} again",
  rejected: "not accepted: {detail}",
  failed: "could not be processed: {detail}",
  too_large: "too large: at most {size} are allowed",
  too_large_unknown: "too large",
  network: "the network or the service does not answer",
  refused: "the store refused the file",
  ticket_ended: "the time for this upload is over",
  unknown: "the upload cannot begin: {detail}",
};

/** One upload in the list. */
export class Row {
  /**
   * @param {File} file
   * @param {Record<string, string>} texts
   */
  constructor(file, texts) {
    this.texts = texts;
    this.label = shortName(file);
    this.item = make("li", {});
    /** @type {[string, Record<string, string>, string?]} */
    this.said = ["queued", {}];
    this.image = make("img", {className: "thumb", alt: ""});
    this.image.hidden = true;
    const blank = make("span", {className: "thumb"});
    blank.setAttribute("aria-hidden", "true");
    this.blank = blank;
    const name = make("span", {className: "name", textContent: this.label, dir: "auto"});
    name.title = this.label;
    this.state = make("span", {className: "state"});
    this.action = make("button", {type: "button", className: "action"});
    this.bar = make("progress", {max: 1, value: 0});
    this.bar.setAttribute("aria-label", this.label);
    this.item.append(this.blank, this.image, name, this.state, this.action, this.bar);
  }

  /** @param {Progress} progress */
  progress({phase, loaded, total}) {
    const share = total > 0 ? Math.min(1, loaded / total) : 0;
    this.item.classList.remove("bad");
    this.bar.hidden = false;
    if (phase === "processing") this.bar.removeAttribute("value");
    else this.bar.value = share;
    this.say(phase, {percent: String(Math.floor(share * 100))});
  }

  /** @param {Result} result */
  end({state, reason, thumb}) {
    this.bar.hidden = true;
    this.action.hidden = true;
    this.item.classList.toggle("bad", state !== "ready");
    const said = state === "ready" && reason ? "ready_but" : state;
    this.say(said, {detail: reason?.detail ?? ""}, reason?.code);
    if (thumb) {
      this.image.src = thumb;
      this.image.hidden = false;
      this.blank.hidden = true;
    }
  }

  /** @param {unknown} error */
  fail(error) {
    this.bar.hidden = true;
    this.item.classList.add("bad");
    if (!(error instanceof UploadError)) {
      this.say("unknown", {detail: error instanceof Error ? error.message : String(error)});
    }
    else if (error.code === "aborted") this.say("cancelled", {});
    else if (error.code === "too_large" && !error.maxBytes) this.say("too_large_unknown", {});
    else this.say(error.code, {size: sizeOf(error.maxBytes ?? 0)});
  }

  /**
   * @param {string} text the name of a text
   * @param {Record<string, string>} values
   * @param {string} [code] of a reason
   */
  say(text, values, code) {
    this.said = [text, values, code];
    const detail = this.texts[`reason_${code}`] ?? values.detail ?? "";
    this.state.textContent = filled(this.texts[text] ?? text, {...values, detail});
  }

  /** @param {Record<string, string>} texts */
  retext(texts) {
    this.texts = texts;
    this.say(...this.said);
  }

  /**
   * Give the row's button a meaning.
   *
   * @param {"cancel" | "retry"} text
   * @param {string} sign
   * @param {() => void} action
   */
  act(text, sign, action) {
    this.action.hidden = false;
    this.action.textContent = sign;
    this.action.setAttribute("aria-label", filled(this.texts[text] ?? text, {name: this.label}));
    this.action.onclick = action;
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<HTMLElementTagNameMap[T]>} properties
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

/**
 * @param {string} text
 * @param {Record<string, string>} values
 */
function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** @param {File} file */
export function shortName(file) {
  const characters = [...file.name];
  return characters.length <= 120 ? file.name : `${characters.slice(0, 119).join("")}…`;
}

/** @param {number} bytes */
function sizeOf(bytes) {
  const steps = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const step = Math.min(3, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** step;
  return new Intl.NumberFormat(undefined, {
    style: "unit",
    unit: steps[step],
    maximumFractionDigits: 1,
  }).format(value);
}
