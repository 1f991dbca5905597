/** Tools, brush size, undo, the mask's menu and zoom. */

import { h, icon, iconButton } from "../dom.js";
import { markTransparent } from "../editor/transparency.js";

/** @typedef {import("../editor/stage.js").Stage} Stage */

const TOOLS = [
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"],
  ["box", "Box", "R"],
  ["hand", "Move the picture", "H"],
];
const STEPS = 100; // of the size slider, which is logarithmic: as fine for 3 pixels as for 300

/**
 * @param {Stage} stage
 * @param {{onUpload: () => void, onDownload: () => void}} listeners of the mask's menu
 */
export function createToolbar(stage, { onUpload, onDownload }) {
  const tools = TOOLS.map(([name, label, key]) =>
    iconButton(name, label, {
      title: `${label} (${key})`,
      "data-tool": name,
      "aria-pressed": "false",
      onclick: () => stage.setTool(name),
    }),
  );
  const slider = h("input", {
    type: "range",
    min: 0,
    max: STEPS,
    class: "slider",
    "aria-label": "Brush size",
    oninput: () => stage.setSize(stage.largestSize ** (slider.value / STEPS)),
  });
  const size = h("output", { class: "size" });
  const undo = iconButton("undo", "Undo", { title: "Undo (Ctrl Z)", onclick: () => stage.undo() });
  const redo = iconButton("redo", "Redo", { title: "Redo (Ctrl Shift Z)", onclick: () => stage.redo() });
  const zoom = h("button", {
    type: "button",
    class: "zoom-value",
    title: "Show the whole picture (0)",
    onclick: () => stage.zoomToFit(),
  });

  const menu = h("div", { class: "menu", id: "mask-menu", popover: "auto" });
  const item = (symbol, text, action) =>
    h(
      "button",
      {
        type: "button",
        class: "menu-item",
        onclick: () => {
          menu.hidePopover();
          action();
        },
      },
      icon(symbol),
      text,
    );
  const fromAlpha = item("checks", "Mark the transparent parts", () =>
    stage.edit((mask) => markTransparent(stage.picture, mask)),
  );
  const clear = item("clear", "Clear", () => stage.edit((mask) => mask.clear()));
  menu.append(
    clear,
    item("invert", "Invert", () => stage.edit((mask) => mask.invert())),
    fromAlpha,
    h("hr"),
    item("open", "Open a mask…", onUpload),
    item("save", "Save the mask", onDownload),
  );
  const more = h(
    "button",
    { type: "button", class: "text-button", popovertarget: "mask-menu" },
    icon("mask"),
    "Mask",
    icon("chevron"),
  );
  menu.addEventListener("beforetoggle", (event) => {
    if (event.newState === "open") placeAbove(menu, more);
  });

  const element = h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "Mask tools" },
    h("div", { class: "group tools" }, ...tools),
    h("div", { class: "group sizes" }, icon("dot"), slider, size),
    h("div", { class: "group" }, undo, redo, more, menu),
    h(
      "div",
      { class: "group zooms" },
      iconButton("minus", "Zoom out", { title: "Zoom out (−)", onclick: () => stage.zoom(0.8) }),
      zoom,
      iconButton("plus", "Zoom in", { title: "Zoom in (+)", onclick: () => stage.zoom(1.25) }),
    ),
  );

  const update = () => {
    for (const button of tools) button.setAttribute("aria-pressed", String(button.dataset.tool === stage.tool));
    slider.value = String(Math.round((STEPS * Math.log(stage.size)) / Math.log(stage.largestSize)));
    slider.setAttribute("aria-valuetext", `${stage.size} pixels`);
    size.textContent = `${stage.size} px`;
    undo.disabled = !stage.undoStack.canUndo;
    redo.disabled = !stage.undoStack.canRedo;
    fromAlpha.hidden = !stage.picture?.transparent;
  };
  const updateZoom = () => {
    zoom.textContent = `${Math.round(stage.view.scale * 100)} %`;
    zoom.setAttribute("aria-label", `Zoom ${zoom.textContent}: show the whole picture`);
  };
  stage.addEventListener("change", update);
  stage.addEventListener("view", updateZoom);
  update();
  updateZoom();
  return { element };
}

/** Popovers are placed by hand: not every browser has anchor positioning yet. */
function placeAbove(menu, button) {
  const box = button.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - 248))}px`;
  menu.style.bottom = `${innerHeight - box.top + 8}px`;
}
