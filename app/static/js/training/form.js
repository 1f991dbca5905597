/** Starting a run: family, data set, preset, and options over the preset. */

import { getJson } from "../api.js";
import { field, h, select, showError } from "../dom.js";
import { FAMILIES } from "./run.js";

const PRESETS = [
  ["cpu", "CPU"],
  ["gpu", "GPU"],
  ["course", "Course"],
  ["paper", "Paper"],
];
const HELP = {
  cpu: "Made for a machine without a GPU.",
  gpu: "Made for one large GPU: a good model in some minutes.",
  course: "Sizes and steps of the course project that this follows.",
  paper: "The paper's own recipe: long, and for a GPU.",
};

/** @param {(run: any) => void} onStarted */
export function createForm(onStarted) {
  const families = Object.entries(FAMILIES).map(([value, text], index) =>
    h(
      "label",
      { class: "segment" },
      h("input", { type: "radio", name: "family", value, checked: index === 0 }),
      h("span", {}, text),
    ),
  );
  const dataset = select([], "");
  const preset = select(PRESETS, "cpu");
  const presetField = field("Preset", preset, HELP.cpu);
  preset.addEventListener("change", () => {
    presetField.querySelector(".help").textContent = HELP[preset.value];
  });
  const options = h("textarea", { rows: 3, spellcheck: "false", placeholder: "lr=3e-4\nbatch_size=32" });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const note = h("p", { class: "help", hidden: true });
  const start = h("button", { type: "submit", class: "button primary" }, "Start training");
  const element = h(
    "form",
    { class: "card training-form", "aria-labelledby": "training-form-title", onsubmit: submit },
    h("h2", { id: "training-form-title" }, "New run"),
    h("fieldset", { class: "segments" }, h("legend", {}, "Model"), ...families),
    field("Data set", dataset),
    note,
    presetField,
    field("Options over the preset", options, "One NAME=VALUE on each line."),
    error,
    start,
  );

  async function submit(event) {
    event.preventDefault();
    showError(error);
    start.disabled = true;
    try {
      const order = {
        family: families.map((label) => label.firstChild).find((input) => input.checked).value,
        dataset: dataset.value,
        preset: preset.value,
        overrides: parse(options.value),
      };
      onStarted(await getJson("training-runs", { method: "POST", json: order }));
    } catch (problem) {
      showError(error, problem.message);
    } finally {
      start.disabled = dataset.options.length === 0;
    }
  }

  return {
    element,
    async load() {
      const { datasets } = await getJson("datasets");
      const chosen = dataset.value;
      dataset.replaceChildren(...datasets.map((name) => h("option", { value: name }, name)));
      if (datasets.includes(chosen)) dataset.value = chosen;
      start.disabled = datasets.length === 0;
      note.hidden = datasets.length > 0;
      note.textContent =
        "No data set is registered yet. The operator names them in DATASETS or in datasets.toml in the data directory.";
    },
  };
}

/** `lr=3e-4` lines; values are JSON, else text. @param {string} text @returns {Record<string, any>} */
function parse(text) {
  const overrides = {};
  for (const line of text.split("\n").map((each) => each.trim())) {
    if (!line) continue;
    const [, name, value] = /^([a-z0-9_]+)\s*=\s*(.*)$/i.exec(line) ?? [];
    if (!name) throw new Error(`“${line}” is not of the form NAME=VALUE, for example lr=3e-4.`);
    try {
      overrides[name] = JSON.parse(value);
    } catch {
      overrides[name] = value;
    }
  }
  return overrides;
}
