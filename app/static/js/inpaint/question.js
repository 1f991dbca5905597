/** Asks before painting is lost. */

import { h } from "../dom.js";

export function createQuestion() {
  const text = h("p");
  const dialog = h(
    "dialog",
    { class: "sheet", "aria-labelledby": "question-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "question-title" }, "Give up what you painted?"),
      text,
      h(
        "div",
        { class: "buttons end" },
        h("button", { class: "button quiet", value: "" }, "Keep it"),
        h("button", { class: "button primary", value: "yes" }, "Give it up"),
      ),
    ),
  );
  return {
    element: dialog,
    /** @param {string} name of the picture @returns {Promise<boolean>} whether its painting may go */
    ask(name) {
      text.textContent = `What you painted over ${name} has not been completed yet. It would be lost.`;
      dialog.returnValue = "";
      dialog.showModal();
      return new Promise((resolve) => {
        dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
      });
    },
    close: () => dialog.close(),
  };
}
