/** What can be done with a result: see its figures, save it, copy it, go on from it. */

import { download, field, h, icon, select, showError } from "../dom.js";
import { duration, percent, size } from "../format.js";

/** @typedef {import("./history.js").Entry} Entry */

const FORMATS = [
  ["png", "PNG, exact"],
  ["jpeg", "JPEG"],
  ["webp", "WebP"],
];

/**
 * @param {{onSave: (entry: Entry) => void, onContinue: () => void, onBack: () => void}} listeners
 */
export function createResult({ onSave, onContinue, onBack }) {
  /** @type {Entry | null} */
  let entry = null;
  const facts = h("dl", { class: "facts" });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const format = select(FORMATS, "png");
  const quality = h("input", { type: "range", class: "slider", min: 1, max: 100, value: 92 });
  const shown = h("output", { class: "size" }, "92");
  const qualityField = field("Quality", h("span", { class: "with-value" }, quality, shown));
  qualityField.querySelector("label").htmlFor = quality.id = "download-quality";
  qualityField.hidden = true;
  quality.addEventListener("input", () => (shown.textContent = quality.value));
  format.addEventListener("change", () => (qualityField.hidden = format.value === "png"));

  const save = h("button", { type: "button", class: "button primary", id: "download" }, icon("save"), "Download");
  save.addEventListener("click", () =>
    attempt(save, async () => {
      const saved = entry; // another may be shown while this one is encoded
      const kind = format.value;
      const blob = kind === "png" ? saved.blob : await convert(saved.blob, kind, quality.value / 100);
      download(blob, `${saved.picture.stem}-inpainted.${kind === "jpeg" ? "jpg" : kind}`);
      onSave(saved);
    }),
  );
  const copy = h("button", { type: "button", class: "button" }, icon("copy"), h("span", {}, "Copy"));
  copy.addEventListener("click", () =>
    attempt(copy, async () => {
      if (!navigator.clipboard?.write) {
        throw new Error("The browser lets pages copy pictures only over https or on localhost. Download it instead.");
      }
      await navigator.clipboard.write([new ClipboardItem({ "image/png": entry.blob })]);
      copy.lastChild.textContent = "Copied";
      setTimeout(() => (copy.lastChild.textContent = "Copy"), 2000);
    }),
  );

  /** A large picture takes seconds to encode: the button says so by being disabled. */
  async function attempt(button, action) {
    showError(error);
    button.disabled = true;
    try {
      await action();
    } catch (problem) {
      showError(error, problem.message);
    } finally {
      button.disabled = false;
    }
  }

  const element = h(
    "section",
    { class: "panel-section result", "aria-labelledby": "result-title" },
    h("h2", { id: "result-title", tabindex: -1 }, "Done"),
    facts,
    h("div", { class: "fields" }, field("Format", format), qualityField),
    h("div", { class: "buttons" }, save, copy),
    error,
    h(
      "div",
      { class: "buttons stacked" },
      h("button", { type: "button", class: "button", onclick: onContinue }, icon("forward"), "Go on from the result"),
      h("button", { type: "button", class: "button quiet", onclick: onBack }, icon("back"), "Back to the mask"),
    ),
  );

  return {
    element,
    /** @param {Entry} next */
    show(next) {
      entry = next;
      showError(error);
      const { job, picture, blob, seconds } = entry;
      const timings = Object.entries(job.result?.timings ?? {});
      const rows = [
        ["Picture", `${picture.width} × ${picture.height}, ${size(blob.size)}`],
        ["Changed", percent(job.result?.changed ?? 0)],
        ["Time", duration(seconds)],
        ["Model", job.result?.model ?? job.model ?? ""],
      ];
      const list = rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
      facts.replaceChildren(...list);
      if (timings.length) facts.children[5].title = timings.map(([name, s]) => `${name} ${duration(s)}`).join(", ");
    },
  };
}

/** Made in the browser from the exact PNG. JPEG has no transparency: what is see-through becomes white. */
async function convert(blob, kind, quality) {
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  if (kind === "jpeg") {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const result = await canvas.convertToBlob({ type: `image/${kind}`, quality });
  if (result.type !== `image/${kind}`) throw new Error(`This browser cannot write ${kind.toUpperCase()}. Choose PNG.`);
  return result;
}
