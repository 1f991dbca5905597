/** The tools: what becomes of a press, a move and a release. Points are in image coordinates. */

import { boxBetween, paintBox, paintStroke } from "./shapes.js";

/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {{x: number, y: number}} Point */
/** @typedef {{erase?: boolean, line?: boolean}} Modifiers */

/** Brush and eraser. */
export class StrokeTool {
  /** @param {Stage} stage @param {0 | 1} value what it paints */
  constructor(stage, value) {
    this.stage = stage;
    this.value = value;
    /** @type {Point | null} where the last stroke ended: Shift draws a straight line from there */
    this.previous = null;
  }

  /** @param {Point} point @param {Modifiers} modifiers */
  start(point, { erase = false, line = false } = {}) {
    this.paints = erase ? 0 : this.value;
    this.stage.mask.begin();
    this.last = line && this.previous ? this.previous : point;
    this.move([point]);
  }

  /** @param {Point[]} points in the order they came */
  move(points) {
    for (const point of points) {
      const changed = paintStroke(this.stage.mask, this.last, point, this.stage.size / 2, this.paints);
      this.stage.touch(changed);
      this.last = point;
    }
  }

  end() {
    this.previous = this.last;
    this.stage.commit();
  }

  abort() {
    this.stage.revert();
  }
}

/** A box from corner to corner; shown while it is drawn, painted on release. */
export class BoxTool {
  /** @param {Stage} stage */
  constructor(stage) {
    this.stage = stage;
  }

  /** @param {Point} point @param {Modifiers} modifiers */
  start(point, { erase = false } = {}) {
    this.from = this.to = point;
    this.paints = erase ? 0 : 1;
    this._show();
  }

  /** @param {Point[]} points */
  move(points) {
    this.to = points.at(-1);
    this._show();
  }

  end() {
    this.stage.showBox(null);
    this.stage.mask.begin();
    this.stage.touch(paintBox(this.stage.mask, this.from, this.to, this.paints));
    this.stage.commit();
  }

  abort() {
    this.stage.showBox(null);
  }

  _show() {
    this.stage.showBox(boxBetween(this.from, this.to));
  }
}
