/** What a run's progress tells, as series over its steps. */

/** @typedef {import("./chart.js").Series} Series */

const NOT_FIGURES = new Set(["images", "images_per_second", "eta_seconds", "hours"]);
const NAMES = { mse: "MSE", psnr: "PSNR", ssim: "SSIM", l1: "L1", db: "dB", percent: "%" };

export class Figures {
  constructor() {
    /** @type {Map<string, Map<number, number>>} name -> step -> value */
    this._values = new Map();
    /** @type {Map<string, number>} the value that was told last */
    this._last = new Map();
  }

  /**
   * Add what one progress says; in any order, and again from the beginning after a broken connection.
   * @param {{done: number, details: Record<string, any>}} progress
   */
  add({ done, details }) {
    for (const [name, value] of Object.entries(details)) {
      if (typeof value !== "number" || NOT_FIGURES.has(name)) continue;
      if (!this._values.has(name)) this._values.set(name, new Map());
      // Each progress repeats the latest of every figure: the same value is no new measurement.
      if (this._last.get(name) !== value) this._values.get(name).set(done, value);
      this._last.set(name, value);
    }
  }

  /** @returns {Map<string, Series>} by name, each in the order of its steps */
  get series() {
    const sorted = ([name, values]) => [name, [...values].sort(([a], [b]) => a - b)];
    return new Map([...this._values].map(sorted));
  }
}

/** `hole_mse` -> `Hole MSE`. @param {string} name */
export function figureTitle(name) {
  const words = name.split("_").map((word) => NAMES[word] ?? word);
  return words.join(" ").replace(/^./, (letter) => letter.toUpperCase());
}
