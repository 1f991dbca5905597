/** Undo and redo of mask edits within a fixed budget of memory. */

import { weight } from "./mask.js";

/** @typedef {import("./mask.js").Mask} Mask */
/** @typedef {import("./mask.js").Edit} Edit */

export class UndoStack {
  /** @param {number} budget bytes that undo and redo may hold together; the oldest edits go first */
  constructor(budget = 8 * 1024 * 1024) {
    this.budget = budget;
    this.clear();
  }

  clear() {
    /** @type {Edit[]} */
    this._undo = [];
    /** @type {Edit[]} */
    this._redo = [];
    this.bytes = 0;
  }

  get canUndo() {
    return this._undo.length > 0;
  }

  get canRedo() {
    return this._redo.length > 0;
  }

  /** @param {Edit} edit as `Mask.commit` returns it */
  push(edit) {
    if (edit.size === 0) return;
    for (const gone of this._redo) this.bytes -= weight(gone);
    this._redo = [];
    this._undo.push(edit);
    this.bytes += weight(edit);
    while (this.bytes > this.budget && this._undo.length > 1) this.bytes -= weight(this._undo.shift());
  }

  /** @param {Mask} mask @returns {boolean} whether there was something to undo */
  undo(mask) {
    return this._move(this._undo, this._redo, mask);
  }

  /** @param {Mask} mask @returns {boolean} whether there was something to do again */
  redo(mask) {
    return this._move(this._redo, this._undo, mask);
  }

  _move(from, to, mask) {
    const edit = from.pop();
    if (!edit) return false;
    const back = mask.swap(edit);
    this.bytes += weight(back) - weight(edit);
    to.push(back);
    return true;
  }
}
