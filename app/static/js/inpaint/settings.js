/** How the hole is filled: tucked away, because the defaults are meant to be right. */

import { getJson } from "../api.js";
import { field, h, icon, select } from "../dom.js";

/** @typedef {{model: string, strategy: string, blend: string, dilate: number}} Settings */

const AUTOMATIC = "By what is around the hole";
const STRATEGIES = [
  ["auto", "Automatic"],
  ["crop", "Crop around the hole"],
  ["resize", "Whole picture, reduced"],
  ["original", "Whole picture, full size"],
];
const BLENDS = [
  ["auto", "Automatic"],
  ["feather", "Feathered"],
  ["poisson", "Poisson"],
  ["none", "None"],
];
const HELP = {
  auto: "Each hole at the scale that the network knows best.",
  crop: "Only what surrounds the hole, at the picture's own scale.",
  resize: "The network sees all of the picture, but coarsely.",
  original: "Slow on large pictures.",
};

/** Settings of the run, as a closed section of the panel. */
export function createSettings() {
  const model = select([["", AUTOMATIC]], "");
  const strategy = select(STRATEGIES, "auto");
  const blend = select(BLENDS, "auto");
  const dilate = h("input", { type: "number", min: 0, max: 256, step: 1, value: 0, inputmode: "numeric" });
  const strategyField = field("What the network sees", strategy, HELP.auto);
  strategy.addEventListener("change", () => {
    strategyField.querySelector(".help").textContent = HELP[strategy.value];
  });
  const element = h(
    "details",
    { class: "settings" },
    h("summary", {}, icon("sliders"), "Settings", icon("chevron")),
    h(
      "div",
      { class: "fields" },
      field("Model", model),
      strategyField,
      field("Edge of the hole", blend),
      field("Grow the hole by, pixels", dilate, "Helps when a shadow or a rim of what should go is left."),
    ),
  );

  /** Fill in the models that complete pictures; the list stays as it is while the service is away. */
  async function load() {
    const answer = await getJson("models").catch(() => null);
    if (!answer) return;
    const chosen = model.value;
    const able = answer.models.filter((each) => each.family === "glcic");
    model.replaceChildren(
      h("option", { value: "" }, AUTOMATIC),
      ...able.map((each) => h("option", { value: each.name }, each.title)),
    );
    model.value = able.some((each) => each.name === chosen) ? chosen : "";
  }

  return {
    element,
    load,
    /** @returns {Settings} */
    get values() {
      const pixels = Math.min(Math.max(Math.round(Number(dilate.value)) || 0, 0), 256);
      return { model: model.value, strategy: strategy.value, blend: blend.value, dilate: pixels };
    },
  };
}
