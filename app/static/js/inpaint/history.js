/** The results of this visit. They live in this tab alone and go with it. */

import { h } from "../dom.js";
import { duration } from "../format.js";

/**
 * @typedef {object} Entry
 * @property {import("../editor/picture.js").Picture} picture before
 * @property {import("../editor/mask.js").Edit} mask packed
 * @property {number} left where it begins: a column of the picture
 * @property {number} share of the picture that it covers, 0 to 1
 * @property {Blob} blob the result, as the service gave it
 * @property {string} url of the result, for <img>
 * @property {any} job
 * @property {number} seconds
 * @property {boolean} [saved] whether it was downloaded
 */

const MOST = 24;
const THUMBNAIL = 128;

/**
 * @param {{onOpen: (entry: Entry) => void, onForget: (entry: Entry, left: Entry[]) => void}} listeners
 */
export function createHistory({ onOpen, onForget }) {
  /** @type {Entry[]} newest first */
  const entries = [];
  const list = h("ul", { class: "history" });
  const element = h(
    "section",
    { class: "panel-section", "aria-labelledby": "history-title", hidden: true },
    h("h2", { id: "history-title", class: "eyebrow" }, "This visit"),
    list,
  );
  const buttons = new Map();

  return {
    element,
    entries,
    /** @param {Entry} entry */
    add(entry) {
      entries.unshift(entry);
      const label = `${entry.picture.name}, ${duration(entry.seconds)}`;
      const image = h("canvas", { width: THUMBNAIL, height: THUMBNAIL, "aria-hidden": "true" });
      drawThumbnail(image, entry.blob);
      const button = h(
        "button",
        { type: "button", class: "thumb", "aria-label": `Result ${label}`, title: label, onclick: () => onOpen(entry) },
        image,
      );
      const row = h("li", {}, button);
      buttons.set(entry, { button, row });
      list.prepend(row);
      while (entries.length > MOST) {
        const gone = entries.pop();
        URL.revokeObjectURL(gone.url);
        buttons.get(gone).row.remove();
        buttons.delete(gone);
        onForget(gone, entries);
      }
      element.hidden = false;
    },
    /** Note that a result was downloaded, and in it those that it was gone on from. @param {Entry} entry */
    noteSaved(entry) {
      for (let each = entry; each; each = entries.find(({ blob }) => blob === each.picture.file)) each.saved = true;
    },
    /** @param {Entry | null} entry that is on the stage */
    mark(entry) {
      for (const [each, { button }] of buttons) {
        if (each === entry) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      }
    },
  };
}

/** The middle of a picture, small: the history must not keep whole photographs decoded. */
async function drawThumbnail(canvas, blob) {
  const bitmap = await createImageBitmap(blob);
  const side = Math.min(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  context.drawImage(bitmap, left, top, side, side, 0, 0, canvas.width, canvas.height);
  bitmap.close();
}
