/** Before and after: a slider between the two, and a button that shows the original while it is held. */

import { h, icon, iconButton } from "../dom.js";
import { View } from "../editor/view.js";
import { listenToGestures } from "./gestures.js";

const PIXELS_FROM = 3; // times enlarged, pixels are shown as squares, as in the editor
const PAN = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

/** The stage's second face: the same place of the picture at the same scale as in the editor. */
export function createCompare() {
  const pictures = [h("img", { alt: "Before" }), h("img", { alt: "After" })];
  const [before, after] = pictures;
  const faces = [
    h("div", { slot: "first", class: "face" }, before),
    h("div", { slot: "second", class: "face" }, after),
  ];
  const slider = h(
    "img-comparison-slider",
    { role: "slider", "aria-label": "Before and after", "aria-valuemin": 0, "aria-valuemax": 100, tabindex: 0 },
    ...faces,
    h("span", { slot: "handle", class: "handle" }, icon("across")),
  );
  const tags = h(
    "div",
    { class: "tags", "aria-hidden": "true" },
    h("span", { class: "tag before" }, "Before"),
    h("span", { class: "tag after" }, "After"),
  );
  const element = h("div", { class: "compare" }, slider, tags);
  const view = new View();
  /** @type {number | null} where the slider is to stand, a column of the picture, once it is known how that lies */
  let start = null;

  const setValue = (value) => {
    slider.value = value;
    report();
  };
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
    element.classList.add("held");
  };
  const release = () => {
    if (rest === null) return;
    setValue(rest);
    rest = null;
    element.classList.remove("held");
  };
  hold.addEventListener("pointerdown", (event) => {
    hold.setPointerCapture(event.pointerId);
    press();
  });
  for (const end of ["pointerup", "pointercancel", "blur"]) hold.addEventListener(end, release);
  hold.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press is what it is for

  const zoomValue = h("button", {
    type: "button",
    class: "zoom-value",
    title: "Show the whole picture (0)",
    onclick: () => fit(),
  });
  /** Place the pictures as the view says. */
  const apply = () => {
    const { x, y, scale, image, screen } = view;
    for (const each of pictures) {
      Object.assign(each.style, {
        width: `${image.width * scale}px`,
        height: `${image.height * scale}px`,
        transform: `translate(${x}px, ${y}px)`,
      });
    }
    Object.assign(tags.style, {
      left: `${Math.max(x, 0)}px`,
      top: `${Math.max(y, 0)}px`,
      right: `${Math.max(screen.width - x - image.width * scale, 0)}px`,
    });
    zoomValue.textContent = `${Math.round(scale * 100)} %`;
    zoomValue.setAttribute("aria-label", `Zoom ${zoomValue.textContent}: show the whole picture`);
    element.classList.toggle("enlarged", scale >= PIXELS_FROM);
  };
  const measure = () => {
    const { clientWidth: width, clientHeight: height } = element;
    if (!width) return;
    view.screen = { width, height };
    for (const face of faces) Object.assign(face.style, { width: `${width}px`, height: `${height}px` });
    if (view.fitted) view.fit();
    apply();
    if (start === null) return;
    const share = view.toScreen({ x: start, y: 0 }).x / width;
    setValue(100 * Math.min(Math.max(share - 0.015, 0.03), 0.97));
    start = null;
  };
  const fit = () => {
    view.fit();
    apply();
  };
  const zoom = (factor) => {
    view.zoomTo(view.scale * factor);
    apply();
  };
  new ResizeObserver(measure).observe(element);
  listenToGestures(element, view, { onChange: apply, value: () => slider.value, setValue });

  /** Keys that mean something while this is on screen. @returns {boolean} whether the key was used */
  const onKey = ({ type, key, shiftKey, target }) => {
    const down = type === "keydown";
    if ((target === hold && (key === " " || key === "Enter")) || key.toLowerCase() === "c") {
      if (down) press();
      else release();
    } else if (!down) return false;
    else if (key === "+" || key === "=") zoom(1.25);
    else if (key === "-") zoom(0.8);
    else if (key === "0") fit();
    else if (shiftKey && PAN[key]) {
      view.pan(...PAN[key]);
      apply();
    } else return false;
    return true;
  };
  for (const type of ["keydown", "keyup"]) {
    // Before the slider sees the key: with Shift an arrow moves the picture and not the slider.
    document.addEventListener(
      type,
      (event) => {
        if (element.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey) return;
        if (event.target.closest?.("input, select, dialog") || !onKey(event)) return;
        event.preventDefault();
        event.stopPropagation();
      },
      { capture: true },
    );
  }

  const bar = h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "Comparison" },
    h("div", { class: "group" }, hold),
    h(
      "div",
      { class: "group zooms" },
      iconButton("minus", "Zoom out", { title: "Zoom out (−)", onclick: () => zoom(0.8) }),
      zoomValue,
      iconButton("plus", "Zoom in", { title: "Zoom in (+)", onclick: () => zoom(1.25) }),
    ),
  );

  return {
    element,
    bar,
    /**
     * @param {import("../editor/picture.js").Picture} picture @param {string} resultUrl
     * @param {number} left where the slider stands first: a column of the picture
     * @param {View} seen in the editor: the detail that was painted is the detail that is compared
     */
    show(picture, resultUrl, left, seen) {
      view.image = { width: picture.width, height: picture.height };
      view.fitted = seen.fitted;
      Object.assign(view, { scale: seen.scale, x: seen.x, y: seen.y });
      before.src = picture.url;
      after.src = resultUrl;
      element.classList.toggle("transparent", picture.transparent);
      start = left;
      measure(); // while another view is on screen there is nothing to measure yet
    },
    focus: () => slider.focus({ preventScroll: true }),
  };
}
