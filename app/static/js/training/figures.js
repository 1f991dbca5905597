/** A run's figures as series over its steps: what the service tells of the past, then what progress adds. */

/** @typedef {import("./chart.js").Series} Series */

const NOT_FIGURES = new Set(["images", "images_per_second", "eta_seconds", "hours"]);

export class Figures {
  constructor() {
    /** @type {Map<string, Map<number, number>>} name -> step -> value */
    this._values = new Map();
    /** @type {Map<string, number>} the value that was told last */
    this._last = new Map();
    this._known = -1; // the last step of the history
  }

  /** Begin with what is known so far. @param {Record<string, Series>} figures as in `GET /training-runs/{id}/history` */
  load(figures) {
    this._values = new Map(Object.entries(figures).map(([name, series]) => [name, new Map(series)]));
    this._known = Math.max(-1, ...Object.values(figures).map((series) => series.at(-1)[0]));
  }

  /**
   * Add what one progress says. Of steps that the history covers it says nothing new.
   * @param {{done: number, details: Record<string, any>}} progress
   */
  add({ done, details }) {
    for (const [name, value] of Object.entries(details)) {
      if (typeof value !== "number" || NOT_FIGURES.has(name)) continue;
      // Each progress repeats the latest of every figure: the same value is no new measurement.
      const measured = this._last.get(name) !== value;
      this._last.set(name, value);
      if (!measured || done <= this._known) continue;
      if (!this._values.has(name)) this._values.set(name, new Map());
      this._values.get(name).set(done, value);
    }
  }

  /** @returns {Map<string, Series>} by name, each in the order of its steps */
  get series() {
    const sorted = ([name, values]) => [name, [...values].sort(([a], [b]) => a - b)];
    return new Map([...this._values].map(sorted));
  }
}
