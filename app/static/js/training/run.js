/** One training run: how far it is, its curves, its previews, and what can be done with it. */

import { announce } from "../announce.js";
import { getJson } from "../api.js";
import { h, showError } from "../dom.js";
import { duration, figureTitle, number, plural, when } from "../format.js";
import { followJob } from "../jobs.js";
import { createChart } from "./chart.js";
import { Figures } from "./figures.js";
import { createPreviews, previewStep } from "./previews.js";

export const FAMILIES = { glcic: "GLCIC", dcgan: "DCGAN", "vanilla-gan": "Vanilla GAN" };
const STATES = { queued: "Waiting", running: "Running", succeeded: "Finished", failed: "Failed", cancelled: "Cancelled" };
const BADGES = { running: "busy", succeeded: "good", failed: "bad" };

/** @param {any} run as in `GET /training-runs` */
export function runBadge(run) {
  const stopping = run.cancel_requested && run.state === "running";
  return h("span", { class: `badge ${BADGES[run.state] ?? ""}` }, stopping ? "Stopping" : STATES[run.state]);
}

/** @param {any} run */
export function runTitle(run) {
  return `${FAMILIES[run.family]} on ${run.dataset}`;
}

export class RunPanel {
  /**
   * @param {any} run as in `GET /training-runs/{id}`
   * @param {() => void} onChanged its state changed
   */
  constructor(run, onChanged) {
    this.run = run;
    this.onChanged = onChanged;
    this.figures = new Figures();
    this.charts = new Map();
    this.previews = createPreviews(run.id);
    this._stop = new AbortController();
    this._badge = h("span", {});
    this._facts = h("p", { class: "run-facts", role: "status" });
    this._bar = h("progress", { "aria-label": "Steps" });
    this._error = h("p", { class: "error", role: "alert", hidden: true });
    this._warning = h("p", { class: "warning", hidden: true });
    this._service = h("p", { class: "run-service", hidden: true });
    const button = (text, kind, action) => {
      const element = h("button", { type: "button", class: `button ${kind}` }, text);
      element.addEventListener("click", () => this._act(element, action));
      return element;
    };
    this._cancel = button("Cancel", "", () => this._post("cancel"));
    this._resume = button("Resume", "", () => this._post("resume"));
    this._promote = button("Put into service", "primary", () => this._putIntoService());
    this._chartGrid = h("div", { class: "charts" });
    const overrides = Object.entries(run.overrides).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
    this.element = h(
      "article",
      { class: "run-panel card", "aria-label": runTitle(run) },
      h(
        "header",
        {},
        h("p", { class: "eyebrow" }, `Started ${when(run.created_at)}, preset ${run.preset}`),
        h("h2", {}, runTitle(run), this._badge),
        overrides.length > 0 && h("p", { class: "muted" }, h("code", {}, overrides.join(", "))),
      ),
      this._bar,
      this._facts,
      this._error,
      this._warning,
      h("div", { class: "buttons run-buttons" }, this._promote, this._resume, this._cancel),
      this._service,
      this._chartGrid,
      this.previews.element,
    );
    this._show();
    this._findServing();
    this._follow();
  }

  close() {
    this._stop.abort();
    this.previews.close();
  }

  /** The whole run so far, then its latest job as it goes on. */
  async _follow() {
    const job = this.run.links.job.split("/").at(-1);
    const { signal } = this._stop;
    try {
      const history = await getJson(`training-runs/${this.run.id}/history`, { signal });
      this.figures.load(history.figures);
      history.previews.forEach((step) => this.previews.add(step));
      this._show();
      const onJob = (each) => this._progress(each);
      const before = this.run.state;
      const ended = await followJob(job, { onJob, signal });
      if (ended.state !== before) announce(`${runTitle(this.run)}: ${STATES[ended.state]}.`);
    } catch (error) {
      if (error.name === "AbortError") return;
      // The ledger forgets a job after a while; the run's own record stays.
      if (error.status !== 404) showError(this._error, error.message);
    }
    if (!this._stop.signal.aborted) await this._reload().catch((error) => showError(this._error, error.message));
  }

  _progress(job) {
    if (job.progress) {
      this.figures.add(job.progress);
      const step = previewStep(job.progress.details.file);
      if (step !== null) this.previews.add(step);
    }
    const changed = job.state !== this.run.state;
    const { state, position, failure } = job;
    this.run = { ...this.run, state, position, failure, progress: job.progress ?? this.run.progress };
    if (changed) this.onChanged();
    this._frame ||= requestAnimationFrame(() => this._show());
  }

  async _reload() {
    this.run = await getJson(`training-runs/${this.run.id}`);
    await this._findServing();
    this._show();
    this.onChanged();
  }

  /** Whether it is this run's weights that serve: then there is nothing to put into service. */
  async _findServing() {
    if (!this.run.model) return;
    const [name] = this.run.model.split("@");
    const model = await getJson(`models/${name}`).catch(() => null); // unknown before the first promotion
    this._serve(model ? `${name}@${model.active}` : "");
  }

  /** @param {string} reference of the version that serves now @param {string} [previous] to roll back to */
  _serve(reference, previous = "") {
    this._serving = reference;
    const serves = reference !== "" && reference === this.run.model;
    this._service.hidden = !serves;
    if (serves) {
      const back = previous && previous !== reference ? this._rollBackButton(previous) : "";
      this._service.replaceChildren(h("span", {}, h("code", {}, reference), " is in service."), back);
    }
    this._show();
  }

  _show() {
    this._frame = 0;
    const { run } = this;
    const ended = !["queued", "running"].includes(run.state);
    const { done = 0, total = 0, details = {} } = run.progress ?? {};
    this._badge.replaceChildren(runBadge(run));
    this._bar.hidden = ended && !total;
    if (total) {
      this._bar.max = total;
      this._bar.value = done;
    } else this._bar.removeAttribute("value");
    const queue = run.position ? `Waiting, ${plural(run.position, "run")} ahead` : "Waiting for the training worker";
    const before = run.state === "running" ? "Starting: the data set is being read" : queue;
    const facts = [total ? `Step ${number(done)} of ${number(total)}` : ended ? "Ended before the first step" : before];
    if (details.phase && details.phase !== "training") facts.push(String(details.phase));
    if (details.images_per_second) facts.push(`${number(Math.round(details.images_per_second * 10) / 10)} images/s`);
    if (run.state === "running" && details.eta_seconds > 0) facts.push(`${duration(details.eta_seconds)} left`);
    this._facts.textContent = facts.join(" · ");
    if (run.failure) showError(this._error, run.failure.detail);
    this._warning.hidden = !details.message;
    this._warning.textContent = details.message ?? "";
    this._cancel.hidden = ended;
    this._cancel.disabled = Boolean(run.cancel_requested);
    this._resume.hidden = run.state !== "cancelled" && run.state !== "failed";
    this._promote.hidden = !run.model || run.model === this._serving;
    for (const [name, series] of this.figures.series) {
      if (!this.charts.has(name)) {
        const chart = createChart(figureTitle(name));
        this.charts.set(name, chart);
        this._chartGrid.append(chart.element);
      }
      this.charts.get(name).update(series, total);
    }
    this.previews.show();
  }

  async _act(button, action) {
    showError(this._error);
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      showError(this._error, error.message);
    } finally {
      button.disabled = false;
      this._show();
    }
  }

  async _post(what) {
    const before = this.run.links.job;
    this.run = await getJson(`training-runs/${this.run.id}/${what}`, { method: "POST" });
    this.onChanged();
    if (this.run.links.job !== before) this._follow();
  }

  async _putIntoService() {
    const { model, previous } = await getJson(`training-runs/${this.run.id}/promote`, { method: "POST" });
    this.run = { ...this.run, model };
    this._serve(model, previous ?? "");
    announce(`${model} is in service.`);
  }

  /** @param {string} previous */
  _rollBackButton(previous) {
    const button = h("button", { type: "button", class: "button small" }, "Roll back");
    button.addEventListener("click", () =>
      this._act(button, async () => {
        const [name, version] = previous.split("@");
        await getJson(`models/${name}/active`, { method: "PUT", json: { version } });
        this._serve(previous);
        this._service.replaceChildren(`${previous} serves again.`);
        this._service.hidden = false;
        announce(this._service.textContent);
      }),
    );
    return button;
  }
}
