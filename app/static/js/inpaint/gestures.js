/**
 * Moving and enlarging what is compared. One finger and the left button belong
 * to the slider; two fingers, the wheel and the middle button come here, before
 * the slider sees them.
 */

const WHEEL_ZOOM = 0.005;

/**
 * @param {HTMLElement} element around the slider
 * @param {import("../editor/view.js").View} view
 * @param {{onChange: () => void, value: () => number, setValue: (value: number) => void}} slider
 */
export function listenToGestures(element, view, { onChange, value, setValue }) {
  const locate = ({ clientX, clientY }) => {
    const box = element.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  };
  const captured = { capture: true, passive: false };

  element.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || event.metaKey) {
        const { x, y } = locate(event); // a trackpad's pinch comes with ctrlKey
        view.zoomTo(view.scale * Math.exp(-event.deltaY * WHEEL_ZOOM), x, y);
      } else if (view.fitted) return; // the page scrolls, where it can
      else view.pan(-event.deltaX, -event.deltaY);
      event.preventDefault();
      onChange();
    },
    captured,
  );

  let drag = null;
  element.addEventListener(
    "pointerdown",
    (event) => {
      if (event.button !== 1) return;
      event.preventDefault();
      element.setPointerCapture(event.pointerId);
      drag = locate(event);
    },
    captured,
  );
  element.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = locate(event);
    view.pan(at.x - drag.x, at.y - drag.y);
    drag = at;
    onChange();
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => (drag = null));
  element.addEventListener("mousedown", (event) => event.button === 1 && event.stopPropagation(), captured);

  let pinch = null;
  let stood = 0; // where the slider stood before the first finger moved it
  element.addEventListener(
    "touchstart",
    (event) => {
      if (event.touches.length === 1) stood = value();
      if (event.touches.length !== 2) return;
      event.stopPropagation();
      event.preventDefault();
      setValue(stood);
      pinch = spread(event.touches, locate);
    },
    captured,
  );
  element.addEventListener(
    "touchmove",
    (event) => {
      if (!pinch) return;
      event.stopPropagation(); // also of the finger that stays when the other is lifted
      event.preventDefault();
      if (event.touches.length !== 2) return;
      const now = spread(event.touches, locate);
      view.pan(now.x - pinch.x, now.y - pinch.y);
      view.zoomTo((view.scale * now.distance) / pinch.distance, now.x, now.y);
      pinch = now;
      onChange();
    },
    captured,
  );
  for (const end of ["touchend", "touchcancel"]) {
    element.addEventListener(end, (event) => {
      if (event.touches.length === 0) pinch = null;
    });
  }
}

/** Middle of two fingers and the distance between them. */
function spread([first, second], locate) {
  const [a, b] = [locate(first), locate(second)];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.max(Math.hypot(a.x - b.x, a.y - b.y), 1) };
}
