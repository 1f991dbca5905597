/**
 * What the tools paint, as spans of whole pixels: a pixel belongs to a shape
 * when its centre does. No antialiasing: a mask knows only fill and keep.
 */

/** @typedef {import("./mask.js").Mask} Mask */
/** @typedef {import("./mask.js").Rect} Rect */

/**
 * Paint the track of a round brush that moved from a to b, in image coordinates.
 * @param {Mask} mask @param {{x: number, y: number}} a @param {{x: number, y: number}} b
 * @param {number} radius at least half a pixel @param {0 | 1} value
 * @returns {Rect} what may have changed
 */
export function paintStroke(mask, a, b, radius, value) {
  const r = Math.max(radius, 0.5);
  const length = Math.hypot(b.x - a.x, b.y - a.y);
  const nx = length ? ((a.y - b.y) / length) * r : 0;
  const ny = length ? ((b.x - a.x) / length) * r : 0;
  const corners = [
    [a.x + nx, a.y + ny],
    [b.x + nx, b.y + ny],
    [b.x - nx, b.y - ny],
    [a.x - nx, a.y - ny],
  ];
  const top = Math.max(0, Math.floor(Math.min(a.y, b.y) - r));
  const bottom = Math.min(mask.height, Math.ceil(Math.max(a.y, b.y) + r));
  for (let row = top; row < bottom; row++) {
    const y = row + 0.5;
    let low = Infinity;
    let high = -Infinity;
    // Two discs and the band between them. Their union is convex, so each row is one span.
    for (const centre of [a, b]) {
      const half = r * r - (y - centre.y) ** 2;
      if (half < 0) continue;
      low = Math.min(low, centre.x - Math.sqrt(half));
      high = Math.max(high, centre.x + Math.sqrt(half));
    }
    for (let i = 0; length && i < 4; i++) {
      const [x0, y0] = corners[i];
      const [x1, y1] = corners[(i + 1) & 3];
      if (y0 > y === y1 > y) continue;
      const x = x0 + ((y - y0) / (y1 - y0)) * (x1 - x0);
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    if (low <= high) mask.fillSpan(row, Math.ceil(low - 0.5), Math.floor(high - 0.5) + 1, value);
  }
  return {
    x0: Math.floor(Math.min(a.x, b.x) - r),
    y0: Math.floor(Math.min(a.y, b.y) - r),
    x1: Math.ceil(Math.max(a.x, b.x) + r),
    y1: Math.ceil(Math.max(a.y, b.y) + r),
  };
}

/**
 * Paint the box between two corners, both of which belong to it.
 * @param {Mask} mask @param {{x: number, y: number}} a @param {{x: number, y: number}} b @param {0 | 1} value
 * @returns {Rect} what may have changed
 */
export function paintBox(mask, a, b, value) {
  const box = boxBetween(a, b);
  const bottom = Math.min(mask.height, box.y1);
  for (let y = Math.max(0, box.y0); y < bottom; y++) mask.fillSpan(y, box.x0, box.x1, value);
  return box;
}

/** The whole pixels between two corners. @returns {Rect} */
export function boxBetween(a, b) {
  return {
    x0: Math.floor(Math.min(a.x, b.x)),
    y0: Math.floor(Math.min(a.y, b.y)),
    x1: Math.floor(Math.max(a.x, b.x)) + 1,
    y1: Math.floor(Math.max(a.y, b.y)) + 1,
  };
}
