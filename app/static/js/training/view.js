/** The Training view: a form, the runs, and the one that is looked at. */

import { getJson } from "../api.js";
import { h, showError } from "../dom.js";
import { when } from "../format.js";
import { createForm } from "./form.js";
import { RunPanel, runBadge, runTitle } from "./run.js";

const REFRESH = 4000;

export class TrainingView {
  /** @param {HTMLElement} root */
  constructor(root) {
    /** @type {RunPanel | null} */
    this.panel = null;
    this.form = createForm((run) => this._started(run));
    this._error = h("p", { class: "error", role: "alert", hidden: true });
    this._list = h("ul", { class: "runs" });
    this._empty = h("p", { class: "muted" }, "No runs yet.");
    this._detail = h(
      "div",
      { class: "run-detail" },
      h("p", { class: "nothing" }, "A run shows its curves and previews here while it learns."),
    );
    root.append(
      h(
        "div",
        { class: "page wide" },
        h(
          "header",
          { class: "page-head" },
          h("h1", {}, "Training"),
          h("p", { class: "lead" }, "Train any of the three models, watch it learn, and put it into service without a restart."),
        ),
        this._error,
        h(
          "div",
          { class: "training" },
          h(
            "div",
            { class: "training-side" },
            this.form.element,
            h("section", { "aria-labelledby": "runs-title" }, h("h2", { id: "runs-title" }, "Runs"), this._list, this._empty),
          ),
          this._detail,
        ),
      ),
    );
  }

  /** `#/training/ID` opens a run. */
  show({ rest }) {
    this._visible = true;
    this._wanted = rest[0] ?? this._wanted;
    this.form.load().catch((error) => showError(this._error, error.message));
    this._load();
  }

  hide() {
    this._visible = false;
    clearTimeout(this._timer);
    this.panel?.close();
    this.panel = null;
  }

  keyChanged() {
    if (this._visible) this.show({ rest: [] });
  }

  async _load() {
    clearTimeout(this._timer);
    try {
      const { runs } = await getJson("training-runs?limit=30");
      if (!this._visible) return;
      showError(this._error);
      this._showList(runs);
      const wanted = runs.find((run) => run.id === this._wanted) ?? runs[0];
      if (wanted && this.panel?.run.id !== wanted.id) this._open(wanted);
    } catch (error) {
      showError(this._error, error.message);
    }
    if (this._visible) this._timer = setTimeout(() => this._load(), REFRESH);
  }

  _showList(runs) {
    this._empty.hidden = runs.length > 0;
    const text = JSON.stringify(runs.map(({ id, state, cancel_requested: stops }) => [id, state, stops, this._wanted]));
    if (text === this._last) return; // drawn anew only when something changed, so that focus stays
    this._last = text;
    const current = this._wanted ?? runs[0]?.id;
    this._list.replaceChildren(
      ...runs.map((run) =>
        h(
          "li",
          {},
          h(
            "a",
            { class: "run-row", href: `#/training/${run.id}`, "aria-current": run.id === current ? "true" : null },
            h("span", {}, runTitle(run), h("span", { class: "muted" }, `${when(run.created_at)}, ${run.preset}`)),
            runBadge(run),
          ),
        ),
      ),
    );
  }

  _open(run) {
    this.panel?.close();
    this._wanted = run.id;
    this.panel = new RunPanel(run, () => this._soon());
    this._detail.replaceChildren(this.panel.element);
  }

  /** The list again, once, after a burst of changes. */
  _soon() {
    clearTimeout(this._timer);
    if (this._visible) this._timer = setTimeout(() => this._load(), 100);
  }

  _started(run) {
    this._wanted = run.id;
    history.replaceState(null, "", `#/training/${run.id}`);
    this._load();
  }
}
