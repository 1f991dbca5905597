/** From one seed to another: a slider over the pictures on the way, blended into one another. */

import { h } from "../dom.js";

/** @param {{onEnlarge: (index: number) => void}} listeners */
export function createInterpolation({ onEnlarge }) {
  const under = h("img", { alt: "" });
  const over = h("img", { alt: "", class: "over" });
  const slider = h("input", { type: "range", class: "slider", min: 0, max: 1000, value: 0, id: "interpolation-slider" });
  const from = h("span", { class: "interpolation-end" });
  const to = h("span", { class: "interpolation-end" });
  const strip = h("ol", { class: "strip" });
  let sources = [];

  const place = () => {
    const position = (slider.value / 1000) * (sources.length - 1);
    const index = Math.min(Math.floor(position), sources.length - 2);
    if (under.src !== sources[index]) {
      under.src = sources[index];
      over.src = sources[index + 1];
    }
    over.style.opacity = String(position - index);
    const nearest = Math.round(position);
    [...strip.children].forEach((each, i) => each.classList.toggle("here", i === nearest));
    slider.setAttribute("aria-valuetext", `picture ${nearest + 1} of ${sources.length}`);
  };
  slider.addEventListener("input", place);

  const element = h(
    "div",
    { class: "interpolation", hidden: true },
    h("div", { class: "interpolation-picture" }, under, over),
    h("label", { for: "interpolation-slider", class: "visually-hidden" }, "Position between the two seeds"),
    h("div", { class: "interpolation-line" }, from, slider, to),
    strip,
  );
  return {
    element,
    /** @param {string[]} pictures at least two @param {number} seed @param {number} other */
    show(pictures, seed, other) {
      sources = pictures;
      slider.value = "0";
      from.textContent = `Seed ${seed}`;
      to.textContent = `Seed ${other}`;
      strip.replaceChildren(
        ...pictures.map((src, index) =>
          h(
            "li",
            {},
            h(
              "button",
              { type: "button", "aria-label": `Enlarge picture ${index + 1}`, onclick: () => onEnlarge(index) },
              h("img", { src, alt: "" }),
            ),
          ),
        ),
      );
      place();
    },
  };
}
