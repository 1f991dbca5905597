/** What mouse, fingers and keys do on the stage: tucked away, for those who want to be quicker. */

import { h, icon } from "../dom.js";

const FINGERS = [
  ["One finger", "paint"],
  ["Two fingers", "zoom and move"],
];
const KEYS = [
  ["B", "E", "R", "brush, eraser, box"],
  ["[", "]", "smaller, larger; the wheel too"],
  ["Alt", "erase while held"],
  ["Shift", "a straight line from the last stroke"],
  ["Space", "move the picture while held"],
  ["+", "−", "0", "zoom; Ctrl and the wheel too"],
  ["Ctrl Z", "undo; with Shift redo"],
  ["Ctrl Enter", "inpaint"],
  ["C", "the original, while held"],
];

/** A closed section of the panel. @returns {HTMLElement} */
export function createKeys() {
  const row = (words) => [
    h("dt", {}, ...words.slice(0, -1).map((key) => h("kbd", {}, key))),
    h("dd", {}, words.at(-1)),
  ];
  return h(
    "details",
    { class: "settings" },
    h("summary", {}, icon("keyboard"), "Keys and gestures", icon("chevron")),
    h("dl", { class: "keys for-touch" }, ...FINGERS.flatMap(row)),
    h("dl", { class: "keys" }, ...KEYS.flatMap(row)),
  );
}
