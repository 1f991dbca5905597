/** One picture, large, with its neighbours an arrow key away. */

import { download, h, iconButton } from "../dom.js";

export function createLightbox() {
  let sources = [];
  let names = [];
  let at = 0;
  const image = h("img", { alt: "", class: "pixels" });
  const caption = h("p", { class: "lightbox-caption", "aria-live": "polite" });
  const show = (index) => {
    at = (index + sources.length) % sources.length;
    image.src = sources[at];
    image.alt = caption.textContent = names[at];
  };
  const save = async () => {
    // Not fetched: the page's policy lets it connect to the service alone, and the bytes are here already.
    const bytes = Uint8Array.from(atob(sources[at].split(",")[1]), (character) => character.charCodeAt(0));
    download(new Blob([bytes], { type: "image/png" }), `${names[at].replaceAll(/[^\w-]+/g, "-").toLowerCase()}.png`);
  };
  const dialog = h(
    "dialog",
    { class: "lightbox", "aria-label": "Enlarged picture" },
    image,
    h(
      "div",
      { class: "lightbox-bar" },
      iconButton("back", "Previous picture", { onclick: () => show(at - 1) }),
      caption,
      iconButton("forward", "Next picture", { onclick: () => show(at + 1) }),
      iconButton("save", "Download this picture", { onclick: save }),
      iconButton("close", "Close", { onclick: () => dialog.close() }),
    ),
  );
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(at - 1);
    if (event.key === "ArrowRight") show(at + 1);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return {
    element: dialog,
    /** @param {string[]} pictures as data: URLs @param {string[]} captions @param {number} index */
    open(pictures, captions, index) {
      sources = pictures;
      names = captions;
      show(index);
      dialog.showModal();
    },
    close: () => dialog.close(),
  };
}
