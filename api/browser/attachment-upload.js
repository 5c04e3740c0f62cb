// The element <attachment-upload>: a drop zone, a list of uploads, their progress and thumbnails.

import {make, Row, shortName, TEXTS} from "./attachment-row.js";
import {filesOf, takeFiles, upload} from "./attachments.js";

export {TEXTS};

/** @typedef {import("./attachments.js").GetTicket} GetTicket */
/** @typedef {import("./attachments.js").Result} Result */

const SPOKEN = 10;

const STYLE = `
  [hidden] { display: none !important; }
  :host { display: block; font: inherit; color-scheme: light dark; container-type: inline-size; }
  :host([hidden]) { display: none; }
  * { box-sizing: border-box; }
  .zone { border: 2px dashed light-dark(#5f6b7a, #9aa7b8); border-radius: 8px; padding: 1rem;
    text-align: center; background: light-dark(#f6f8fa, #1b2027); color: light-dark(#1b2027, #f0f3f6); }
  .zone[data-dragged] { border-style: solid; border-color: light-dark(#0550ae, #79b8ff);
    background: light-dark(#e7f1ff, #10243e); }
  button { font: inherit; border-radius: 6px; border: 1px solid transparent; cursor: pointer; }
  button:focus-visible { outline: 3px solid light-dark(#0550ae, #79b8ff); outline-offset: 2px; }
  .choose { padding: .5rem 1rem; min-height: 2.75rem; background: light-dark(#0550ae, #79b8ff);
    color: light-dark(#fff, #0b1a2b); }
  .hint { margin: .5rem 0 0; }
  ul { list-style: none; margin: .75rem 0 0; padding: 0; display: grid; gap: .5rem; }
  li { display: grid; grid-template-columns: 3rem minmax(0, 1fr) auto; gap: .25rem .75rem;
    align-items: center; }
  .thumb { grid-row: span 2; width: 3rem; height: 3rem; object-fit: contain; border-radius: 4px;
    background: light-dark(#e5e9ee, #2b323c); }
  .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; unicode-bidi: isolate; }
  .state { grid-column: 2; font-size: .875em; overflow-wrap: anywhere; }
  .bad .state { color: light-dark(#a40e26, #ff9492); }
  .action { grid-column: 3; grid-row: 1 / span 2; min-width: 2.75rem; min-height: 2.75rem;
    background: none; border-color: light-dark(#5f6b7a, #9aa7b8); color: inherit; }
  progress { grid-column: 1 / -1; width: 100%; height: .375rem; }
  .spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

/**
 * Uploads files that are chosen, dropped or pasted. Set the property `ticket` to a function that
 * gets a ticket from the page's backend.
 *
 * Attributes: `multiple` (present unless set to "false"), `accept` (as of `<input type=file>`).
 * Events: `attachment-ready`, `attachment-rejected`, `attachment-failed` (also for faults), with
 * `detail` `{file, result, error}`.
 */
export class AttachmentUpload extends HTMLElement {
  static observedAttributes = ["accept", "multiple"];

  constructor() {
    super();
    /** @type {GetTicket | undefined} */
    this.ticket;
    /** @type {Record<string, string>} */
    this._texts = TEXTS;
    /** @type {Set<Row>} */
    this._rows = new Set();
    /** @type {(() => void) | null} */
    this._stopTaking = null;
    /** @type {Set<AbortController>} */
    this._running = new Set();
    const shadow = this.attachShadow({mode: "open", delegatesFocus: true});
    this._input = make("input", {type: "file", hidden: true});
    this._choose = make("button", {type: "button", className: "choose"});
    this._hint = make("p", {className: "hint"});
    this._list = make("ul", {hidden: true});
    this._spoken = make("div", {className: "spoken"});
    this._spoken.setAttribute("role", "status");
    const zone = make("div", {className: "zone"});
    zone.append(this._choose, this._hint, this._input);
    this._zone = zone;
    // A sheet that a script makes needs no permission of the page's Content-Security-Policy.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [sheet];
    shadow.append(zone, this._list, this._spoken);
    this._choose.addEventListener("click", () => this._input.click());
    this._input.addEventListener("change", (event) => {
      this.add(filesOf(event));
      this._input.value = ""; // so that the same file can be chosen again
    });
    this._show();
  }

  connectedCallback() {
    if (Object.hasOwn(this, "texts")) {
      // The page set the property before this class was defined.
      const given = this.texts;
      Reflect.deleteProperty(this, "texts");
      this.texts = given;
    }
    const stopZone = takeFiles(this._zone, (files) => this.add(files));
    const stopPaste = takePastes(this, (files) => this.add(files));
    this._stopTaking = () => {
      stopZone();
      stopPaste();
    };
    this.attributeChangedCallback();
  }

  disconnectedCallback() {
    this._stopTaking?.();
    queueMicrotask(() => {
      if (this.isConnected) return; // it was only moved
      for (const each of this._running) each.abort();
    });
  }

  attributeChangedCallback() {
    this._input.accept = this.getAttribute("accept") ?? "";
    this._input.multiple = this.getAttribute("multiple") !== "false";
  }

  /** The texts in use. Texts that are not given keep their English. */
  get texts() {
    return this._texts;
  }

  /** @param {Record<string, string>} given */
  set texts(given) {
    this._texts = {...TEXTS, ...given};
    this._show();
    for (const each of this._rows) each.retext(this._texts);
  }

  /**
   * Upload files; of several files only the first one without `multiple`.
   *
   * @param {File[]} files
   */
  add(files) {
    const taken = this._input.multiple ? files : files.slice(0, 1);
    for (const file of taken) this._start(file, new Row(file, this._texts));
  }

  _show() {
    this._choose.textContent = this._texts.choose ?? "";
    this._hint.textContent = this._texts.hint ?? "";
    this._list.setAttribute("aria-label", this._texts.list ?? "");
  }

  /**
   * @param {File} file
   * @param {Row} row
   */
  async _start(file, row) {
    const stop = new AbortController();
    this._running.add(stop);
    this._rows.add(row);
    this._list.hidden = false;
    if (!row.item.isConnected) this._list.append(row.item);
    row.act("cancel", "✕", () => stop.abort());
    /** @type {{result?: Result, error?: unknown}} */
    const outcome = {};
    try {
      if (!this.ticket) throw new Error("the property `ticket` is not set");
      const {ticket} = this;
      outcome.result = await upload(file, {
        ticket,
        signal: stop.signal,
        onProgress: (progress) => row.progress(progress),
      });
      row.end(outcome.result);
    } catch (error) {
      outcome.error = error;
      row.fail(error);
      row.act("retry", "↻", () => this._start(file, row));
    }
    this._running.delete(stop);
    // Several uploads may end together, so the last sentences stay.
    const sentence = `${shortName(file)}: ${row.state.textContent}`;
    this._spoken.append(make("div", {textContent: sentence}));
    if (this._spoken.childElementCount > SPOKEN) this._spoken.firstElementChild?.remove();
    const state = outcome.result?.state ?? "failed";
    this.dispatchEvent(
      new CustomEvent(`attachment-${state}`, {
        detail: {file, ...outcome},
        bubbles: true,
        composed: true,
      }),
    );
  }
}

const TEXT_FIELDS = "input, textarea, [contenteditable], [contenteditable] *";

/**
 * Take pastes anywhere on the page, but not those into a text field.
 *
 * @param {HTMLElement} element
 * @param {(files: File[]) => void} take
 */
function takePastes(element, take) {
  const stop = new AbortController();
  /** @param {ClipboardEvent} event */
  const pasted = (event) => {
    const files = filesOf(event);
    const target = event.composedPath()[0];
    const isText = target instanceof HTMLElement && target.matches(TEXT_FIELDS);
    if (event.defaultPrevented || files.length === 0 || isText) return;
    event.preventDefault();
    take(files);
  };
  element.ownerDocument.addEventListener("paste", pasted, {signal: stop.signal});
  return () => stop.abort();
}

customElements.define("attachment-upload", AttachmentUpload);
