/**
 * Drawing by keyboard alone. With the stage in focus: arrows move a crosshair
 * (with Shift ten steps), Space puts the brush down and lifts it again (or sets
 * the two corners of a box), Escape takes the stroke back. Letters choose tools.
 */

import { announce } from "../announce.js";

/** @typedef {import("./stage.js").Stage} Stage */

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOOLS = { b: "brush", e: "eraser", r: "box", h: "hand" };

/** @param {Stage} stage */
export function listenToKeys(stage) {
  stage.element.addEventListener("keydown", (event) => {
    if (stage.picture && onStage(stage, event)) event.preventDefault();
  });
  stage.element.addEventListener("keyup", (event) => {
    if (event.key === " ") stage.setPanning(false);
  });
  stage.element.addEventListener("focus", () => {
    if (stage.element.matches(":focus-visible") && stage.input !== "pointer") stage.showCrosshair(true);
  });
  stage.element.addEventListener("blur", () => {
    if (stage.penDown) lift(stage);
    stage.setPanning(false);
    stage.showCrosshair(false);
  });
  document.addEventListener("keydown", (event) => {
    if (!stage.picture || !stage.element.isConnected || stage.element.offsetParent === null) return;
    if (event.target.closest?.("input, select, textarea, dialog") && event.target.type !== "range") return;
    if (anywhere(stage, event)) event.preventDefault();
  });
}

/** Keys that mean something wherever the focus is. @returns {boolean} whether the key was used */
function anywhere(stage, event) {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return event.shiftKey ? stage.redo() : stage.undo();
    if (key === "y") return stage.redo();
    return false;
  }
  if (event.altKey) return false;
  if (TOOLS[key]) return stage.setTool(TOOLS[key]);
  if (key === "[") return stage.setSize(stage.size / 1.15 - 0.5);
  if (key === "]") return stage.setSize(stage.size * 1.15 + 0.5);
  if (key === "0") return stage.zoomToFit();
  if (key === "1") return stage.zoom(1 / stage.view.scale);
  if (key === "+" || key === "=") return stage.zoom(1.25);
  if (key === "-") return stage.zoom(0.8);
  return false;
}

/** Keys that draw. @returns {boolean} whether the key was used */
function onStage(stage, event) {
  if (event.ctrlKey || event.metaKey) return false;
  if (ARROWS[event.key]) {
    const step = Math.max(1, Math.round(stage.size / 6)) * (event.shiftKey ? 10 : 1);
    const [dx, dy] = ARROWS[event.key];
    moveCrosshair(stage, dx * (event.altKey ? 1 : step), dy * (event.altKey ? 1 : step));
    return true;
  }
  if (event.key === " ") {
    // While the mouse draws, a held space bar pans, as elsewhere.
    if (stage.input === "pointer") stage.setPanning(true);
    else if (!event.repeat) toggle(stage);
    return true;
  }
  if (event.key === "Escape" && stage.penDown) {
    stage.penDown = false;
    stage.abortTool();
    announce("Stroke taken back.");
    return true;
  }
  return false;
}

function moveCrosshair(stage, dx, dy) {
  stage.input = "keyboard";
  const { picture } = stage;
  const from = stage.crosshair;
  stage.crosshair = {
    x: Math.min(Math.max(from.x + dx, 0), picture.width - 1),
    y: Math.min(Math.max(from.y + dy, 0), picture.height - 1),
  };
  if (stage.view.reveal(stage.crosshair)) stage.redraw();
  stage.showCrosshair(true);
  if (stage.penDown) stage.moveTool([stage.crosshair]);
}

function toggle(stage) {
  if (stage.tool === "hand") return;
  if (stage.penDown) {
    lift(stage);
    return;
  }
  stage.penDown = true;
  stage.showCrosshair(true);
  stage.startTool(stage.crosshair, {});
  const { x, y } = stage.crosshair;
  const what = stage.tool === "box" ? "First corner" : `${stage.tool === "brush" ? "Brush" : "Eraser"} down`;
  announce(`${what} at ${Math.round(x)}, ${Math.round(y)}.`);
}

function lift(stage) {
  stage.penDown = false;
  stage.endTool();
  announce(`${stage.tool === "box" ? "Box painted" : "Lifted"}. ${stage.coverageText()}`);
}
