/** Recent jobs: what they were, how they ended, where their time went. */

import { h } from "../dom.js";
import { duration, percent, when } from "../format.js";

const KINDS = { inpaint: "Inpaint", sample: "Samples", training: "Training" };
const STATES = { queued: "Waiting", running: "Running", succeeded: "Done", failed: "Failed", cancelled: "Cancelled" };

/** @param {any[]} jobs as in `GET /jobs` @param {(job: any) => void} onCancel */
export function jobsTable(jobs, onCancel) {
  if (jobs.length === 0) return h("p", { class: "muted" }, "No jobs yet.");
  const head = ["Job", "State", "Asked", "Waited", "Took", "Picture", "Model"];
  return h(
    "div",
    { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Recent jobs" },
    h(
      "table",
      { class: "jobs" },
      h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)), h("td"))),
      h("tbody", {}, ...jobs.map((job) => row(job, onCancel))),
    ),
  );
}

function row(job, onCancel) {
  const { result } = job;
  const seconds = (from, to) => (from && to ? duration((Date.parse(to) - Date.parse(from)) / 1000) : "–");
  const stages = Object.entries(result?.timings ?? {}).map(([name, time]) => `${name} ${duration(time)}`);
  const picture = result?.width ? `${result.width} × ${result.height}` : "–";
  const changed = job.kind === "inpaint" && result ? `, ${percent(result.changed)}` : "";
  const waits = job.state === "queued" || job.state === "running";
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, KINDS[job.kind] ?? job.kind, " ", h("code", { title: job.id }, job.id.slice(-8))),
    h(
      "td",
      {},
      h("span", { class: `badge ${badge(job.state)}` }, STATES[job.state]),
      job.failure ? h("span", { class: "why" }, job.failure.detail) : null,
    ),
    h("td", {}, when(job.created_at)),
    h("td", {}, seconds(job.created_at, job.started_at)),
    h("td", { title: stages.join(", ") }, seconds(job.started_at, job.finished_at)),
    h("td", {}, picture + changed),
    h("td", {}, h("code", {}, job.model ?? "–")),
    h(
      "td",
      {},
      waits &&
        h(
          "button",
          {
            type: "button",
            class: "button small",
            "aria-label": `Cancel job ${job.id.slice(-8)}`,
            disabled: job.cancel_requested,
            onclick: () => onCancel(job),
          },
          "Cancel",
        ),
    ),
  );
}

/** @param {string} state */
export function badge(state) {
  return { succeeded: "good", failed: "bad", running: "busy" }[state] ?? "";
}
