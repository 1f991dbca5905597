/** Before and after: a slider between the two, and a button that shows the original while it is held. */

import { h, icon, iconButton } from "../dom.js";

const FIT_LIMIT = 2; // small pictures are enlarged up to this
const WHEEL_ZOOM = 0.005;

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
    h(
      "div",
      { class: "tags", "aria-hidden": "true" },
      h("span", { class: "tag before" }, "Before"),
      h("span", { class: "tag after" }, "After"),
    ),
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
    if (scroller.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const elsewhere = event.target.closest?.("input, select, dialog");
    const onHold = event.target === hold && (event.key === " " || event.key === "Enter");
    if (onHold || (event.key.toLowerCase() === "c" && !elsewhere)) {
      event.preventDefault();
      if (event.type === "keydown") press();
      else release();
    } else if (event.type === "keydown" && !elsewhere) {
      if (event.key === "+" || event.key === "=") zoom(1.25);
      else if (event.key === "-") zoom(0.8);
      else if (event.key === "0") fit();
    }
  };
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", onKey);

  const value = h("button", {
    type: "button",
    class: "zoom-value",
    title: "Show the whole picture (0)",
    onclick: () => fit(),
  });
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
  /** The point (x, y) of the window stays where it is. */
  const zoom = (factor, { x, y } = middle()) => {
    const old = frame.getBoundingClientRect();
    scale = Math.min(Math.max(scale * factor, 0.02), 8);
    fitted = false;
    apply();
    const now = frame.getBoundingClientRect();
    scroller.scrollLeft += now.left + ((x - old.left) / old.width) * now.width - x;
    scroller.scrollTop += now.top + ((y - old.top) / old.height) * now.height - y;
  };
  const middle = () => {
    const box = scroller.getBoundingClientRect();
    return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
  };
  scroller.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // scrolls, as everywhere; a trackpad's pinch comes with ctrlKey
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * WHEEL_ZOOM), { x: event.clientX, y: event.clientY });
    },
    { passive: false },
  );
  new ResizeObserver(() => fitted && fit()).observe(scroller);

  const bar = h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "Comparison" },
    h("div", { class: "group" }, hold),
    h(
      "div",
      { class: "group zooms" },
      iconButton("minus", "Zoom out", { title: "Zoom out (−)", onclick: () => zoom(0.8) }),
      value,
      iconButton("plus", "Zoom in", { title: "Zoom in (+)", onclick: () => zoom(1.25) }),
    ),
  );

  return {
    element: scroller,
    bar,
    /**
     * @param {{url: string, width: number, height: number}} picture @param {string} resultUrl
     * @param {number} start where the slider stands first, 0 to 1 from the left
     * @param {import("../editor/view.js").View} view of the editor: a detail that was painted is the detail that is seen
     */
    show(picture, resultUrl, start, view) {
      image = { width: picture.width, height: picture.height };
      before.src = picture.url;
      after.src = resultUrl;
      setValue(100 * Math.min(Math.max(start, 0.03), 0.97));
      if (view.fitted) fit();
      else {
        fitted = false;
        scale = view.scale;
        apply();
        scroller.scrollTo(-view.x, -view.y);
      }
    },
    focus: () => slider.focus({ preventScroll: true }),
  };
}
