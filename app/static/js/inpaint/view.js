/**
 * The Inpaint view: a picture comes in, a mask is drawn, a run is made, its
 * result is compared. `data-state` on the root says which of these it is:
 *
 *     empty -> edit -> running -> result
 *               ^---------+---------+
 */

import { announce } from "../announce.js";
import { getJson, Problem, request } from "../api.js";
import { download, h, icon, showError } from "../dom.js";
import { decodeMask, encodeMask } from "../editor/mask-file.js";
import { Mask } from "../editor/mask.js";
import { openPicture } from "../editor/picture.js";
import { paintStroke } from "../editor/shapes.js";
import { Stage } from "../editor/stage.js";
import { View } from "../editor/view.js";
import { megapixels, percent } from "../format.js";
import { createCompare } from "./compare.js";
import { createHistory } from "./history.js";
import { createKeys } from "./keys.js";
import { createProgress } from "./progress.js";
import { createQuestion } from "./question.js";
import { createResult } from "./result.js";
import { CancelledError, complete } from "./run.js";
import { createSettings } from "./settings.js";
import { createStart, listenForFiles } from "./start.js";
import { createToolbar } from "./toolbar.js";

/** @typedef {import("../editor/mask.js").Edit} Edit */
/** @typedef {import("../editor/picture.js").Picture} Picture */
/** @typedef {import("./history.js").Entry} Entry */

export class InpaintView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.stage = new Stage();
    this.start = createStart({ onFile: (file) => this.openFile(file), onExample: (each) => this.openExample(each) });
    this.toolbar = createToolbar(this.stage, {
      onUpload: () => this._maskInput.click(),
      onDownload: () => this.saveMask(),
    });
    this.compare = createCompare();
    this.settings = createSettings();
    this.progress = createProgress(() => this.cancel());
    this.result = createResult({
      onSave: (entry) => this.history.noteSaved(entry),
      onContinue: () => this.continueFromResult(),
      onBack: () => this.edit(),
    });
    this.question = createQuestion();
    this.history = createHistory({
      onOpen: (entry) => this.showResult(entry),
      onForget: (entry, left) => this._release(entry.picture, left),
    });
    /** @type {Entry | null} the result on the stage */
    this.entry = null;
    /** @type {AbortController | null} */
    this.run = null;
    /** @type {symbol | null} the picture that is being opened */
    this._opening = null;
    /** @type {Edit | null} the mask as it was given, or completed last: nothing is lost with it */
    this._kept = null;
    /** @type {Picture | null} the example that was opened last: its mask is a gift */
    this._example = null;
    this._build();
    listenForFiles(root, {
      accepts: () => !this.run,
      onFile: (file) => this.openFile(file),
      onNothing: (message) => this._fail(message),
    });
    document.addEventListener("keydown", (event) => {
      const runs = event.key === "Enter" && (event.ctrlKey || event.metaKey);
      if (runs && root.offsetParent !== null && root.dataset.state === "edit") this.complete();
    });
    window.addEventListener("beforeunload", (event) => {
      // The browser asks then, in words of its own.
      if (this.run || this._unfinished || this.history.entries.some(({ saved }) => !saved)) event.preventDefault();
    });
    this._state("empty");
  }

  show({ first }) {
    if (first) this.settings.load();
  }

  hide() {
    this.question.close();
  }

  keyChanged() {
    this.settings.load();
  }

  _build() {
    this._name = h("h1", { class: "picture-name" });
    this._facts = h("p", { class: "picture-facts" });
    this._runButton = h(
      "button",
      { type: "button", class: "button primary large run", id: "run", onclick: () => this.complete() },
      icon("spark"),
      "Inpaint",
    );
    this._hint = h("p", { class: "help run-hint", id: "run-hint" });
    this._runButton.setAttribute("aria-describedby", "run-hint");
    this._runError = h("p", { class: "error", role: "alert", hidden: true });
    this._stageError = h("p", { class: "error on-stage", role: "alert", hidden: true });
    this._maskInput = h("input", {
      type: "file",
      id: "mask-input",
      accept: "image/*",
      hidden: true,
      onchange: () => {
        const [file] = this._maskInput.files;
        this._maskInput.value = "";
        if (file) this.openMask(file);
      },
    });
    this._replace = h("button", { type: "button", class: "link", onclick: () => this.start.choose() }, "Replace");
    const close = h("button", { type: "button", class: "link", onclick: () => this.close() }, "Close");
    const panel = h(
      "aside",
      { class: "panel", "aria-label": "Run and result" },
      h(
        "section",
        { class: "panel-section picture-section" },
        this._name,
        this._facts,
        h("p", { class: "links" }, this._replace, close),
      ),
      h(
        "section",
        { class: "panel-section run-section" },
        this._runButton,
        this.progress.element,
        this._hint,
        this._runError,
        this.settings.element,
        createKeys(),
      ),
      this.result.element,
      this.history.element,
    );
    this.root.append(
      h(
        "div",
        { class: "stage" },
        this.start.element,
        this.stage.element,
        this.compare.element,
        this._stageError,
        this.toolbar.element,
        this.compare.bar,
        this._maskInput,
        h("p", { class: "drop-note", "aria-hidden": "true" }, "Drop the picture"),
        h("p", { class: "opening-note" }, "Opening…"),
      ),
      panel,
      this.question.element,
    );
    this.toolbar.element.classList.add("edit-bar");
    this.compare.bar.classList.add("result-bar");
    this.stage.addEventListener("change", () => {
      showError(this._stageError);
      this._updateCoverage();
    });
  }

  /** @param {"empty" | "edit" | "running" | "result"} state */
  _state(state) {
    this.root.dataset.state = state;
    showError(this._stageError);
    this.stage.element.classList.toggle("busy", state === "running");
    this.stage.element.inert = state === "running";
    this.toolbar.element.inert = state === "running";
    this.settings.element.inert = state === "running";
    this.history.element.inert = state === "running";
    this._replace.disabled = state === "running";
    this.result.element.hidden = state !== "result";
    this._runButton.hidden = state !== "edit";
    this._hint.hidden = state !== "edit";
    if (state !== "result") this.history.mark(null);
    if (state === "empty") this._name.textContent = "";
  }

  /** Whether there is painting that no result holds. */
  get _unfinished() {
    const { mask } = this.stage;
    return Boolean(mask) && mask.count() > 0 && !mask.matches(this._kept);
  }

  /** @returns {Promise<boolean>} whether what is on the stage may go */
  async _mayGo() {
    return !this._unfinished || this.question.ask(this.stage.picture.name);
  }

  /** @param {File} file */
  openFile(file) {
    return this._bring(async () => ({ picture: await openPicture(file, file.name || "pasted.png") }));
  }

  /**
   * Put a picture in the place of what is on the stage: of two, the one that was asked for last.
   * @param {() => Promise<{picture: Picture, mask?: Mask}>} load @param {{stay?: boolean}} [options] as in `Stage.open`
   */
  async _bring(load, options) {
    if (this.run) return this._fail("A run is under way. Wait for its result, or cancel it, then open the picture.");
    this._fail();
    const opening = (this._opening = Symbol("opening"));
    this.root.classList.add("opening");
    this._runButton.disabled = true;
    try {
      const { picture, mask } = await load();
      if (this._opening === opening) this.root.classList.remove("opening"); // it is there; a question may follow
      if (this._opening === opening && (await this._mayGo())) this._open(picture, mask, options);
      else this._release(picture, this.history.entries);
    } catch (error) {
      this._fail(error.message);
    } finally {
      if (this._opening === opening) this._endOpening();
    }
  }

  _endOpening() {
    this._opening = null;
    this.root.classList.remove("opening");
    this._updateCoverage();
  }

  /** Said where the picture was to appear: on the start page, or over the picture that stays. @param {string} [message] */
  _fail(message) {
    this.start.fail(this.stage.picture ? "" : message);
    showError(this._stageError, this.stage.picture ? message : "");
  }

  /** @param {import("./examples.js").Example} example */
  openExample(example) {
    return this._bring(async () => {
      const response = await request(example.file);
      const picture = await openPicture(await response.blob(), example.name);
      const mask = new Mask(picture.width, picture.height);
      for (const { radius, points } of example.strokes) {
        const track = points.map(([x, y]) => ({ x, y }));
        track.forEach((point, i) => paintStroke(mask, track[Math.max(i - 1, 0)], point, radius, 1));
      }
      this._example = picture;
      return { picture, mask };
    });
  }

  /** @param {Picture} picture @param {Mask} [mask] @param {{stay?: boolean}} [options] as in `Stage.open` */
  _open(picture, mask, options) {
    const before = this.stage.picture;
    this._state("edit");
    this.stage.open(picture, mask, options);
    this._kept = this.stage.mask.snapshot();
    if (before && before !== picture) this._release(before, this.history.entries);
    showError(this._runError);
    this._updateCoverage();
    this.stage.element.focus({ preventScroll: true });
    announce(`${picture.name} opened, ${picture.width} by ${picture.height} pixels.`);
    this._checkSize(picture);
  }

  /** Say that the service takes no picture of this size before somebody paints on it. @param {Picture} picture */
  async _checkSize(picture) {
    const { max_pixels: most } = await getJson("readyz").catch(() => ({})); // who cannot tell refuses it later
    const pixels = picture.width * picture.height;
    if (!(pixels > most) || this.stage.picture !== picture || this.run) return;
    const [has, may] = [megapixels(pixels), megapixels(most)];
    showError(this._runError, `The picture has ${has}: at most ${may} are accepted. Reduce it and open it again.`);
  }

  /** Let go of a picture that has left the stage: of its file too, where no result in the history was made of it. */
  _release(picture, entries) {
    if (picture === this.stage.picture) return;
    if (entries.some((entry) => entry.picture === picture)) picture.rest();
    else picture.close();
  }

  async close() {
    if (!(await this._mayGo())) return;
    this.cancel();
    this._endRun();
    this._endOpening();
    const { picture } = this.stage;
    this.stage.picture = this.stage.mask = null;
    if (picture) this._release(picture, this.history.entries);
    this._state("empty");
    this.start.focus();
  }

  /** Back to what is being painted, where that waits on the stage; else to the mask of the result that is shown. */
  edit() {
    const { picture, mask } = this.entry;
    if (!this._unfinished && !(picture === this.stage.picture && this.stage.mask.matches(mask))) {
      return this._bring(async () => ({ picture: await picture.wake(), mask: Mask.from(mask, picture) }));
    }
    this._state("edit");
    this._updateCoverage();
    this.stage.element.focus({ preventScroll: true });
  }

  async complete() {
    const { picture, mask } = this.stage;
    if (!picture || this.run || this._opening) return;
    if (mask.count() === 0) {
      this._updateCoverage();
      announce(this._hint.textContent);
      return;
    }
    showError(this._runError);
    const marks = { mask: mask.snapshot(), left: mask.bounds().x0, share: this.stage.coverage() };
    const run = (this.run = new AbortController());
    this._state("running");
    this.progress.start();
    try {
      const completion = await complete(picture, mask, this.settings.values, {
        onJob: (job) => this.progress.show(job),
        signal: run.signal,
      });
      const entry = { ...completion, ...marks, picture, url: URL.createObjectURL(completion.blob) };
      this._kept = entry.mask;
      this.history.add(entry);
      this.showResult(entry);
      announce(`Done. ${percent(completion.job.result.changed)} of the picture changed.`);
    } catch (error) {
      if (this.run !== run) return; // its picture was closed
      this._state("edit");
      this._runButton.focus({ preventScroll: true });
      if (error instanceof CancelledError) announce("Cancelled.");
      else if (error instanceof Problem) showError(this._runError, error.message);
      else throw error;
    } finally {
      if (this.run === run) this._endRun();
    }
  }

  _endRun() {
    this.run = null;
    this.progress.stop();
  }

  cancel() {
    if (!this.run) return;
    this.progress.cancelling();
    this.run.abort();
  }

  /** Show a result; the stage keeps its picture and its mask meanwhile. @param {Entry} entry */
  showResult(entry) {
    const { picture, url, left, share } = entry;
    this.entry = entry;
    this._state("result");
    this._describe(picture, share);
    // The slider stands at the left end of what was filled: the result is seen at once, the original a drag away.
    this.compare.show(picture, url, left, picture === this.stage.picture ? this.stage.view : new View());
    this.result.show(entry);
    this.history.mark(entry);
    this.compare.focus();
  }

  continueFromResult() {
    const { blob, picture } = this.entry;
    const stay = picture === this.stage.picture;
    return this._bring(async () => ({ picture: await openPicture(blob, `${picture.stem}.png`) }), { stay });
  }

  /** @param {File} file */
  async openMask(file) {
    const { picture } = this.stage;
    showError(this._stageError);
    try {
      const read = await decodeMask(file, picture.width, picture.height);
      if (this.stage.picture !== picture) return;
      this.stage.edit((mask) => {
        mask.clear();
        for (const [index, tile] of read.tiles.entries()) if (tile) mask.replace(index, tile);
      });
      announce(`Mask opened. ${this.stage.coverageText()}`);
    } catch (error) {
      showError(this._stageError, error.message);
    }
  }

  async saveMask() {
    const { picture, mask } = this.stage;
    download(await encodeMask(mask), `${picture.stem}-mask.png`);
  }

  _updateCoverage() {
    const { picture } = this.stage;
    if (!picture) return;
    clearTimeout(this._counting);
    // Counting waits until the stroke's last frame is drawn.
    this._counting = setTimeout(() => {
      if (this.stage.picture !== picture || this.root.dataset.state === "result") return;
      const share = this.stage.coverage();
      this._describe(picture, share);
      this._runButton.disabled = share === 0 || this._opening !== null;
      const given = picture === this._example && !this.stage.undoStack.canUndo;
      const next = given ? "The mask is drawn already: run it, or paint your own." : "";
      this._hint.textContent = share ? next : "Paint over what should go first.";
    }, 30);
  }

  /** @param {Picture} picture @param {number} share of it that is marked */
  _describe(picture, share) {
    const marked = share ? `${percent(share)} marked` : "nothing marked yet";
    this._name.textContent = this._name.title = picture.name;
    this._facts.textContent = `${picture.width} × ${picture.height}, ${marked}`;
  }
}
