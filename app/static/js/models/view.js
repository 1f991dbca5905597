/** The Models and jobs view. */

import { getJson } from "../api.js";
import { h, showError } from "../dom.js";
import { cancelJob } from "../jobs.js";
import { inOrder, modelCard } from "./cards.js";
import { jobsTable } from "./jobs.js";

const REFRESH = 2500;

export class ModelsView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this._error = h("p", { class: "error", role: "alert", hidden: true });
    this._cards = h("div", { class: "cards" });
    this._jobs = h("div", {});
    root.append(
      h(
        "div",
        { class: "page wide" },
        h(
          "header",
          { class: "page-head" },
          h("h1", {}, "Models and jobs"),
          h("p", { class: "lead" }, "What draws the pictures, where it comes from, and what it has been doing."),
        ),
        this._error,
        this._cards,
        h("h2", { class: "section-title" }, "Recent jobs"),
        this._jobs,
      ),
    );
  }

  show() {
    this._visible = true;
    this._loadModels();
    this._loadJobs();
  }

  hide() {
    this._visible = false;
    clearTimeout(this._timer);
  }

  keyChanged() {
    if (this._visible) this.show();
  }

  async _loadModels() {
    try {
      const { models } = await getJson("models");
      this._cards.replaceChildren(...inOrder(models).map((model) => modelCard(model, () => this._loadModels())));
      showError(this._error);
    } catch (error) {
      showError(this._error, error.message);
    }
  }

  async _loadJobs() {
    clearTimeout(this._timer);
    try {
      const { jobs } = await getJson("jobs?limit=30");
      const text = JSON.stringify(jobs);
      // Drawn anew only when something changed, so that focus and selection stay.
      if (text !== this._last) this._jobs.replaceChildren(jobsTable(jobs, (job) => this._cancel(job)));
      this._last = text;
    } catch (error) {
      showError(this._error, error.message);
    }
    if (this._visible) this._timer = setTimeout(() => this._loadJobs(), REFRESH);
  }

  async _cancel(job) {
    await cancelJob(job.id).catch((error) => showError(this._error, error.message));
    this._loadJobs();
  }
}
