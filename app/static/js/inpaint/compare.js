/** Before and after: a slider between the two, and a button that shows the original while it is held. */

import { h, icon, iconButton } from "../dom.js";

const FIT_LIMIT = 2; // small pictures are enlarged up to this

/** The stage's second face. */
export function createCompare() {
  const before = h("img", { slot: "first", alt: "Before" });
  const after = h("img", { slot: "second", alt: "After" });
  const slider = h(
    "img-comparison-slider",
    { role: "slider", "aria-label": "Before and after", "aria-valuemin": 0, "aria-valuemax": 100, tabindex: 0 },
    before,
    after,
    h("span", { slot: "handle", class: "handle" }, icon("across")),
  );
  const frame = h(
    "div",
    { class: "compare-frame" },
    slider,
    h("span", { class: "tag before", "aria-hidden": "true" }, "Before"),
    h("span", { class: "tag after", "aria-hidden": "true" }, "After"),
  );
  const scroller = h("div", { class: "compare" }, frame);
  let image = { width: 1, height: 1 };
  let scale = 1;
  let fitted = true;

  const report = () => {
    const value = Math.round(slider.value);
    slider.setAttribute("aria-valuenow", String(value));
    slider.setAttribute("aria-valuetext", `${value} % before, ${100 - value} % after`);
  };
  slider.addEventListener("slide", report);

  const hold = h(
    "button",
    { type: "button", class: "text-button hold", title: "Show the original while pressed (C)" },
    icon("eye"),
    "Hold for the original",
  );
  let rest = null;
  const press = () => {
    if (rest !== null) return;
    rest = slider.value;
    setValue(100);
    frame.classList.add("held");
  };
  const release = () => {
    if (rest === null) return;
    setValue(rest);
    rest = null;
    frame.classList.remove("held");
  };
  const setValue = (value) => {
    slider.value = value;
    report();
  };
  hold.addEventListener("pointerdown", (event) => {
    hold.setPointerCapture(event.pointerId);
    press();
  });
  for (const end of ["pointerup", "pointercancel", "blur"]) hold.addEventListener(end, release);
  hold.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press is what it is for
  const onKey = (event) => {
    if (scroller.offsetParent === null || event.ctrlKey || event.metaKey) return;
    const onHold = event.target === hold && (event.key === " " || event.key === "Enter");
    const letter = event.key.toLowerCase() === "c" && !event.target.closest?.("input, select, dialog");
    if (!onHold && !letter) return;
    event.preventDefault();
    if (event.type === "keydown") press();
    else release();
  };
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", onKey);

  const value = h("button", { type: "button", class: "zoom-value", onclick: () => fit() });
  const apply = () => {
    const [width, height] = [`${image.width * scale}px`, `${image.height * scale}px`];
    for (const each of [before, after]) Object.assign(each.style, { width, height });
    value.textContent = `${Math.round(scale * 100)} %`;
    value.setAttribute("aria-label", `Zoom ${value.textContent}: show the whole picture`);
    frame.classList.toggle("pixels", scale >= 3);
  };
  const fit = () => {
    const { clientWidth, clientHeight } = scroller;
    if (!clientWidth) return;
    const margin = clientWidth < 600 ? 24 : 56;
    const limit = image.width < 600 ? FIT_LIMIT : 1;
    scale = Math.min((clientWidth - margin) / image.width, (clientHeight - margin) / image.height, limit);
    fitted = true;
    apply();
  };
  const zoom = (factor) => {
    scale = Math.min(Math.max(scale * factor, 0.02), 8);
    fitted = false;
    apply();
  };
  new ResizeObserver(() => fitted && fit()).observe(scroller);

  const bar = h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "Comparison" },
    h("div", { class: "group" }, hold),
    h(
      "div",
      { class: "group zooms" },
      iconButton("minus", "Zoom out", { onclick: () => zoom(0.8) }),
      value,
      iconButton("plus", "Zoom in", { onclick: () => zoom(1.25) }),
    ),
  );

  return {
    element: scroller,
    bar,
    /**
     * @param {{url: string, width: number, height: number}} picture @param {string} resultUrl
     * @param {number} start where the slider stands first, 0 to 1 from the left
     */
    show(picture, resultUrl, start) {
      image = { width: picture.width, height: picture.height };
      before.src = picture.url;
      after.src = resultUrl;
      setValue(100 * Math.min(Math.max(start, 0.03), 0.97));
      fit();
    },
    focus: () => slider.focus({ preventScroll: true }),
  };
}
