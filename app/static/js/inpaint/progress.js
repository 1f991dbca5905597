/** How a run is doing: waiting (and behind how many), running (and how far), and the way out of it. */

import { h } from "../dom.js";
import { plural } from "../format.js";

/** @param {() => void} onCancel */
export function createProgress(onCancel) {
  const text = h("p", { class: "progress-text", role: "status" });
  const bar = h("progress", { "aria-label": "Progress" });
  const cancel = h("button", { type: "button", class: "button", onclick: onCancel }, "Cancel");
  // The key that started the run may still be held when the focus comes here.
  cancel.addEventListener("keydown", (event) => event.repeat && event.preventDefault());
  const element = h("div", { class: "progress", hidden: true }, text, bar, cancel);
  const say = (words) => {
    if (text.textContent !== words) text.textContent = words;
  };
  return {
    element,
    start() {
      say("Sending…");
      bar.removeAttribute("value");
      cancel.disabled = false;
      element.hidden = false;
      cancel.focus({ preventScroll: true });
    },
    /** @param {any} job */
    show(job) {
      const { done = 0, total = 0 } = job.progress ?? {};
      if (job.state === "queued") {
        say(job.position ? `Waiting, ${plural(job.position, "job")} ahead` : "Waiting for a worker…");
      } else if (job.state === "running") {
        say(total > 1 ? `Filling, ${done} of ${total}` : "Filling…");
      }
      if (job.state === "running" && total > 1) {
        bar.max = total;
        bar.value = done;
      } else bar.removeAttribute("value");
    },
    cancelling() {
      say("Cancelling…");
      cancel.disabled = true;
    },
    stop() {
      element.hidden = true;
    },
  };
}
