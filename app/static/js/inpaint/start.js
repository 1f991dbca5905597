/** What is seen before there is a picture: drop, paste, choose, or take an example. */

import { address } from "../api.js";
import { h, icon, showError } from "../dom.js";
import { EXAMPLES } from "./examples.js";

/** @typedef {import("./examples.js").Example} Example */

/**
 * @param {{onFile: (file: File) => void, onExample: (example: Example) => void}} listeners
 */
export function createStart({ onFile, onExample }) {
  const input = h("input", {
    type: "file",
    id: "picture-input",
    class: "visually-hidden",
    accept: "image/*",
    onchange: () => {
      if (input.files[0]) onFile(input.files[0]);
      input.value = "";
    },
  });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const examples = EXAMPLES.map((example) =>
    h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "example", onclick: () => onExample(example) },
        h("img", { src: address(example.file), alt: example.alt, width: 152, height: 112, loading: "lazy" }),
      ),
    ),
  );
  const element = h(
    "div",
    { class: "start" },
    h(
      "div",
      { class: "start-inner" },
      h("h1", {}, "Paint over what should go."),
      h("p", { class: "lead" }, "What you paint is drawn anew from what surrounds it. Every other pixel stays as it is."),
      h(
        "div",
        { class: "start-actions" },
        input,
        h("label", { for: "picture-input", class: "button primary large" }, icon("picture"), "Choose a picture"),
        h("span", { class: "hint" }, "or drop one here, or paste it"),
      ),
      error,
      h("h2", { class: "eyebrow" }, "Or start from one of these"),
      h("ul", { class: "examples" }, ...examples),
    ),
  );
  return {
    element,
    choose: () => input.click(),
    focus: () => input.focus({ preventScroll: true }),
    /** @param {string} [message] */
    fail: (message) => showError(error, message),
  };
}

/**
 * Pictures that are dropped on an element or pasted anywhere while it is on screen.
 * @param {HTMLElement} element
 * @param {{accepts: () => boolean, onFile: (file: File) => void, onNothing: (message: string) => void}} listeners
 */
export function listenForFiles(element, { accepts, onFile, onNothing }) {
  let depth = 0;
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    element.classList.toggle("dropping", depth > 0 && accepts());
  };
  element.addEventListener("dragenter", (event) => {
    event.preventDefault();
    mark(1);
  });
  element.addEventListener("dragleave", () => mark(-1));
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    if (!accepts()) event.dataTransfer.dropEffect = "none";
  });
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(-depth);
    const [file] = event.dataTransfer.files;
    if (file) onFile(file);
    else onNothing("What was dropped is no file. Save the picture first, then drop its file here.");
  });
  document.addEventListener("paste", (event) => {
    if (element.offsetParent === null || event.target.closest?.("dialog")) return;
    const file = Array.from(event.clipboardData?.files ?? []).find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    onFile(file);
  });
}
