/** Preview pictures of a run over time: the progress names them, each is fetched when it is first looked at. */

import { address, request } from "../api.js";
import { h } from "../dom.js";
import { number } from "../format.js";

/** The step of a preview, as a progress names it: `previews/000000500.png`. @param {string} [name] */
export function previewStep(name) {
  const [, digits] = /(\d+)\.png$/.exec(name ?? "") ?? [];
  return digits === undefined ? null : Number(digits);
}

/** @param {string} runId */
export function createPreviews(runId) {
  /** @type {number[]} sorted */
  const steps = [];
  /** @type {Map<number, Promise<string>>} step -> object URL */
  const urls = new Map();
  const image = h("img", { class: "preview-picture pixels", alt: "What the model can do by now" });
  const caption = h("p", { class: "caption" });
  const slider = h("input", { type: "range", class: "slider", min: 0, max: 0, value: 0, "aria-label": "Preview over time" });
  const line = h("div", { class: "with-value" }, slider, caption);
  const element = h("section", { class: "previews", hidden: true }, h("h3", { class: "eyebrow" }, "Preview"), image, line);
  let wanted = -1;

  const fetchPreview = async (step) => {
    const response = await request(address(`training-runs/${runId}/preview`, { step }));
    return URL.createObjectURL(await response.blob());
  };
  const show = async () => {
    const step = steps[Number(slider.value)];
    if (step === wanted) return;
    wanted = step;
    if (!urls.has(step)) urls.set(step, fetchPreview(step));
    let url;
    try {
      url = await urls.get(step);
    } catch {
      urls.delete(step); // asked for again when it is looked at again
      if (wanted === step) wanted = -1;
      return;
    }
    if (wanted !== step) return; // the slider has moved on
    image.src = url;
    caption.textContent = `Step ${number(step)}`;
    slider.setAttribute("aria-valuetext", caption.textContent);
    element.hidden = false;
  };
  slider.addEventListener("input", show);

  return {
    element,
    /** Note the preview of a step. @param {number} step */
    add(step) {
      if (steps.includes(step)) return;
      const followed = Number(slider.value) === steps.length - 1 || steps.length === 0;
      const shown = steps[Number(slider.value)];
      steps.push(step);
      steps.sort((a, b) => a - b);
      slider.max = String(steps.length - 1);
      slider.value = String(followed ? steps.length - 1 : steps.indexOf(shown));
      slider.hidden = steps.length < 2;
    },
    /** Show the one that the slider stands at. */
    show: () => (steps.length ? show() : undefined),
    close: () => urls.forEach((url) => url.then(URL.revokeObjectURL, () => {})),
  };
}
