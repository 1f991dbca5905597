/**
 * The stage: picture, mask, brush ring and crosshair on top of each other, one
 * frame at a time. Pointers and keys call it; panels listen to its `change`.
 */

import { h } from "../dom.js";
import { percent } from "../format.js";
import { listenToKeys } from "./keyboard.js";
import { Mask } from "./mask.js";
import { drawMask } from "./overlay.js";
import { listenToPointers } from "./pointer.js";
import { BoxTool, StrokeTool } from "./tools.js";
import { UndoStack } from "./undo.js";
import { View } from "./view.js";

/** @typedef {import("./picture.js").Picture} Picture */
/** @typedef {import("./mask.js").Rect} Rect */
/** @typedef {"brush" | "eraser" | "box" | "hand"} ToolName */

const SHARPEST = 2; // device pixels per CSS pixel that are worth drawing

export class Stage extends EventTarget {
  constructor() {
    super();
    this._pictureCanvas = h("canvas");
    this._maskCanvas = h("canvas");
    this._ring = h("div", { class: "ring", hidden: true });
    this._cross = h("div", { class: "crosshair", hidden: true });
    this._box = h("div", { class: "box-preview", hidden: true });
    this.element = h(
      "div",
      {
        class: "stage-surface",
        tabindex: 0,
        role: "application",
        "aria-label": "Mask editor",
        "aria-describedby": "stage-keys",
      },
      this._pictureCanvas,
      this._maskCanvas,
      this._box,
      this._ring,
      this._cross,
    );
    this.view = new View();
    this.undoStack = new UndoStack();
    /** @type {Picture | null} */
    this.picture = null;
    /** @type {Mask | null} */
    this.mask = null;
    /** @type {ToolName} */
    this.tool = "brush";
    this.size = 40;
    this.crosshair = { x: 0, y: 0 };
    this.penDown = false;
    this.panning = false;
    /** @type {"pointer" | "keyboard" | null} what was used last */
    this.input = null;
    this._tools = { brush: new StrokeTool(this, 1), eraser: new StrokeTool(this, 0), box: new BoxTool(this) };
    /** @type {StrokeTool | BoxTool | null} the tool in use between press and release */
    this._active = null;
    /** @type {{x: number, y: number}[]} points that wait for the next frame */
    this._trail = [];
    /** @type {Rect | null} */
    this._dirty = null;
    this._frame = 0;
    this._refine = 0;
    new ResizeObserver(() => this._resize()).observe(this.element);
    listenToPointers(this);
    listenToKeys(this);
  }

  /**
   * @param {Picture} picture @param {Mask} [mask] starts empty if not given
   * @param {{stay?: boolean}} [options] `stay`: size and view as they are, on a picture of the same size
   */
  open(picture, mask = new Mask(picture.width, picture.height), { stay = false } = {}) {
    this.picture = picture;
    this.mask = mask;
    this.undoStack.clear();
    this.penDown = false;
    this._active = null;
    this.crosshair = { x: picture.width / 2, y: picture.height / 2 };
    for (const name of ["brush", "eraser"]) this._tools[name].previous = null;
    if (!stay) {
      this.size = Math.max(4, Math.round(Math.min(picture.width, picture.height) * 0.08));
      this.view.image = { width: picture.width, height: picture.height };
      this.view.fit();
    }
    this._resize();
    this.setTool("brush"); // nothing is there to be erased yet
  }

  /** Largest brush: half of the smaller side. */
  get largestSize() {
    return this.picture ? Math.max(8, Math.round(Math.min(this.picture.width, this.picture.height) / 2)) : 100;
  }

  /** @param {ToolName} name */
  setTool(name) {
    if (this._active) return true;
    this.tool = name;
    this.element.dataset.tool = name;
    this._changed();
    return true;
  }

  /** @param {number} size diameter in image pixels */
  setSize(size) {
    this.size = Math.min(Math.max(Math.round(size), 1), this.largestSize);
    this._placeRing();
    this._changed();
    return true;
  }

  setPanning(on) {
    this.panning = on;
    this.element.classList.toggle("panning", on);
  }

  startTool(point, modifiers) {
    this._active = this._tools[this.tool] ?? null;
    this._active?.start(point, modifiers);
  }

  moveTool(points) {
    if (!this._active) return;
    this._trail.push(...points);
    this._schedule();
  }

  endTool() {
    const tool = this._active;
    if (!tool) return;
    this._flushTrail();
    this._active = null;
    tool.end();
  }

  abortTool() {
    this._trail = [];
    this._active?.abort();
    this._active = null;
  }

  /** Note that a part of the mask changed. @param {Rect} rect in image pixels */
  touch(rect) {
    this._dirty = this._dirty ? union(this._dirty, rect) : rect;
    this._schedule();
  }

  /** The running edit ends here and can be undone as one. */
  commit() {
    this.undoStack.push(this.mask.commit());
    this._changed();
  }

  /** Take the running edit back. */
  revert() {
    this.mask.swap(this.mask.commit());
    this.redraw();
  }

  /** @param {(mask: Mask) => void} change to the whole mask, undone as one */
  edit(change) {
    if (!this.mask || this._active) return;
    this.mask.begin();
    change(this.mask);
    this.commit();
    this.redraw();
  }

  undo() {
    return this._travel("undo");
  }

  redo() {
    return this._travel("redo");
  }

  _travel(direction) {
    if (!this.mask || this._active) return true;
    if (this.undoStack[direction](this.mask)) {
      this.redraw();
      this._changed();
    }
    return true;
  }

  zoom(factor) {
    this.view.zoomTo(this.view.scale * factor);
    return this.redraw();
  }

  zoomToFit() {
    this.view.fit();
    return this.redraw();
  }

  /** @returns {number} share of the picture that is to be filled, 0 to 1 */
  coverage() {
    return this.mask ? this.mask.count() / (this.mask.width * this.mask.height) : 0;
  }

  coverageText() {
    const share = this.coverage();
    return share ? `The mask covers ${percent(share)} of the picture.` : "The mask is empty.";
  }

  /** @param {{x: number, y: number} | null} at screen point under the brush */
  showRing(at) {
    this._ringAt = this.tool === "brush" || this.tool === "eraser" ? at : null;
    if (at) this.showCrosshair(false);
    this._placeRing();
  }

  showCrosshair(on) {
    this._cross.hidden = !on || !this.picture;
    if (this._cross.hidden) return;
    this._ringAt = this.tool === "box" || this.tool === "hand" ? null : this.view.toScreen(this.crosshair);
    this._placeRing();
    const { x, y } = this.view.toScreen(this.crosshair);
    this._cross.style.transform = `translate(${x}px, ${y}px)`;
  }

  /** @param {Rect | null} box in image pixels */
  showBox(box) {
    this._shownBox = box;
    this._box.hidden = !box;
    if (!box) return;
    const a = this.view.toScreen({ x: box.x0, y: box.y0 });
    const b = this.view.toScreen({ x: box.x1, y: box.y1 });
    Object.assign(this._box.style, {
      transform: `translate(${a.x}px, ${a.y}px)`,
      width: `${b.x - a.x}px`,
      height: `${b.y - a.y}px`,
    });
  }

  /** Draw everything anew in the next frame: the view changed, or the whole mask. */
  redraw() {
    this._whole = true;
    this._schedule();
    this.dispatchEvent(new Event("view"));
    return true;
  }

  _schedule() {
    this._frame ||= requestAnimationFrame(() => this._draw());
  }

  _flushTrail() {
    if (this._trail.length && this._active) this._active.move(this._trail);
    this._trail = [];
  }

  _draw() {
    this._flushTrail();
    this._frame = 0; // after the flush, which would ask for another frame
    if (!this.picture) return;
    const place = this._placement();
    const context = this._maskCanvas.getContext("2d");
    const screen = { x0: 0, y0: 0, x1: this._maskCanvas.width, y1: this._maskCanvas.height };
    if (this._whole) {
      this.picture.draw(this._pictureCanvas.getContext("2d"), place);
      // One sample a pixel while the view moves, four once it rests.
      drawMask(context, this.mask, place, screen, false);
      clearTimeout(this._refine);
      this._refine = setTimeout(() => {
        if (this.picture) drawMask(context, this.mask, this._placement(), screen);
      }, 60);
      if (!this._cross.hidden) this.showCrosshair(true);
      if (this._shownBox) this.showBox(this._shownBox);
      this._placeRing();
    } else if (this._dirty) {
      drawMask(context, this.mask, place, {
        x0: Math.floor(this._dirty.x0 * place.scale + place.x) - 1,
        y0: Math.floor(this._dirty.y0 * place.scale + place.y) - 1,
        x1: Math.ceil(this._dirty.x1 * place.scale + place.x) + 1,
        y1: Math.ceil(this._dirty.y1 * place.scale + place.y) + 1,
      });
    }
    this._whole = false;
    this._dirty = null;
  }

  _placement() {
    return { scale: this.view.scale * this._ratio, x: this.view.x * this._ratio, y: this.view.y * this._ratio };
  }

  _placeRing() {
    this._ring.hidden = !this._ringAt;
    if (!this._ringAt) return;
    const size = Math.max(this.size * this.view.scale, 3);
    this._ring.style.width = this._ring.style.height = `${size}px`;
    this._ring.style.transform = `translate(${this._ringAt.x - size / 2}px, ${this._ringAt.y - size / 2}px)`;
  }

  _resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    this._ratio = Math.min(devicePixelRatio || 1, SHARPEST);
    for (const canvas of [this._pictureCanvas, this._maskCanvas]) {
      const [across, down] = [Math.round(width * this._ratio), Math.round(height * this._ratio)];
      if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
    }
    this.view.screen = { width, height };
    if (this.view.fitted) this.view.fit();
    if (this.picture) this.redraw();
  }

  _changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @returns {Rect} */
function union(a, b) {
  return {
    x0: Math.min(a.x0, b.x0),
    y0: Math.min(a.y0, b.y0),
    x1: Math.max(a.x1, b.x1),
    y1: Math.max(a.y1, b.y1),
  };
}
