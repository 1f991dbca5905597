/**
 * Mouse, pen and touch on the stage, all through Pointer Events.
 *
 * One pointer uses the tool; two fingers zoom and pan; the middle button, the
 * hand tool and a held space bar pan. A stroke begun by the first of two
 * fingers is taken back.
 */

/** @typedef {import("./stage.js").Stage} Stage */

const PEN_ERASER = 32; // PointerEvent.buttons of a pen turned over
const WHEEL_ZOOM = 0.0016;
const WHEEL_SIZE = 0.0012;

/** @param {Stage} stage */
export function listenToPointers(stage) {
  const { element, view } = stage;
  /** @type {Map<number, {x: number, y: number}>} */
  const down = new Map();
  /** @type {"tool" | "pan" | "pinch" | null} */
  let gesture = null;
  let pinch = null;

  const locate = (event) => {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  element.addEventListener("pointerdown", (event) => {
    if (!stage.picture || (event.button !== 0 && event.button !== 1 && event.button !== 5)) return;
    element.focus({ preventScroll: true });
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    const at = locate(event);
    down.set(event.pointerId, at);
    stage.input = "pointer";
    if (down.size === 2 && event.pointerType === "touch") {
      if (gesture === "tool") stage.abortTool();
      gesture = "pinch";
      pinch = spread(down);
    } else if (down.size === 1) {
      const pans = event.button === 1 || stage.panning || stage.tool === "hand";
      gesture = pans ? "pan" : "tool";
      element.classList.toggle("grabbing", pans);
      if (!pans) {
        const erase = event.altKey || Boolean(event.buttons & PEN_ERASER);
        stage.startTool(view.toImage(at), { erase, line: event.shiftKey });
      }
    }
    stage.showRing(gesture === "tool" ? at : null);
  });

  element.addEventListener("pointermove", (event) => {
    const at = locate(event);
    // Whoever moves the mouse means to use it: a space bar held now pans. (Browsers invent moves of no length.)
    if (event.movementX || event.movementY) stage.input = "pointer";
    const before = down.get(event.pointerId);
    if (before) down.set(event.pointerId, at);
    if (!before || gesture === "tool") stage.showRing(event.pointerType === "touch" && !before ? null : at);
    if (!before) return;
    if (gesture === "tool") {
      const trail = event.getCoalescedEvents?.() ?? [];
      stage.moveTool((trail.length ? trail : [event]).map((each) => view.toImage(locate(each))));
    } else if (gesture === "pan") {
      view.pan(at.x - before.x, at.y - before.y);
      stage.redraw();
    } else if (gesture === "pinch" && down.size === 2) {
      const now = spread(down);
      view.pan(now.x - pinch.x, now.y - pinch.y);
      view.zoomTo((view.scale * now.distance) / pinch.distance, now.x, now.y);
      pinch = now;
      stage.redraw();
    }
  });

  const release = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (gesture === "tool") {
      if (event.type === "pointercancel") stage.abortTool();
      else stage.endTool();
    }
    if (down.size === 0) gesture = null;
    else if (gesture === "tool") gesture = null;
    element.classList.remove("grabbing");
    if (event.pointerType === "touch") stage.showRing(null);
  };
  element.addEventListener("pointerup", release);
  element.addEventListener("pointercancel", release);
  element.addEventListener("pointerleave", () => down.size === 0 && stage.showRing(null));

  element.addEventListener(
    "wheel",
    (event) => {
      if (!stage.picture) return;
      event.preventDefault();
      const amount = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
      const at = locate(event);
      if (event.ctrlKey || event.metaKey || stage.tool === "hand" || stage.tool === "box") {
        view.zoomTo(view.scale * Math.exp(-amount * WHEEL_ZOOM * (event.ctrlKey ? 3 : 1)), at.x, at.y);
        stage.redraw();
      } else {
        stage.setSize(stage.size * Math.exp(-amount * WHEEL_SIZE));
        stage.showRing(at);
      }
    },
    { passive: false },
  );
}

/** Middle of two fingers and the distance between them. */
function spread(down) {
  const [a, b] = down.values();
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.max(Math.hypot(a.x - b.x, a.y - b.y), 1) };
}
