/**
 * Draws the mask over the picture: only the part of the screen that changed,
 * sampled from the mask's tiles, so that the cost depends on the brush's size
 * on the screen and never on the picture's.
 */

import { TILE } from "./mask.js";

/** @typedef {import("./mask.js").Mask} Mask */
/** @typedef {import("./mask.js").Rect} Rect */
/** @typedef {{scale: number, x: number, y: number}} Placement of the picture, in device pixels */

const COLOUR = 0x6a32ff; // rgb(255, 50, 106) as the little-endian BGR of ImageData
const ALPHA = [150, 112]; // two tones in diagonal stripes: seen on any picture, red ones too

/** Colour by samples inside the mask (0-4) and stripe (0, 1). */
const SHADES = ALPHA.map((alpha) =>
  Uint32Array.from([0, 1, 2, 3, 4], (hits) => ((((alpha * hits) / 4) << 24) | COLOUR) >>> 0),
);

/**
 * Repaint one rectangle of the overlay.
 * @param {CanvasRenderingContext2D} context of a canvas as large as the screen, in device pixels
 * @param {Mask} mask @param {Placement} place
 * @param {Rect} rect to repaint, in device pixels
 * @param {boolean} smooth four samples a pixel where the picture is reduced; else one
 */
export function drawMask(context, mask, place, rect, smooth = true) {
  const { canvas } = context;
  const x0 = clamp(rect.x0, 0, canvas.width);
  const y0 = clamp(rect.y0, 0, canvas.height);
  const x1 = clamp(rect.x1, x0, canvas.width);
  const y1 = clamp(rect.y1, y0, canvas.height);
  if (x1 === x0 || y1 === y0) return;

  // Device pixels that show the picture at all; the rest of the rectangle is cleared.
  const left = clamp(Math.round(place.x), x0, x1);
  const right = clamp(Math.round(place.x + mask.width * place.scale), x0, x1);
  const top = clamp(Math.round(place.y), y0, y1);
  const bottom = clamp(Math.round(place.y + mask.height * place.scale), y0, y1);
  if (left > x0 || right < x1 || top > y0 || bottom < y1) context.clearRect(x0, y0, x1 - x0, y1 - y0);
  const width = right - left;
  const height = bottom - top;
  if (width <= 0 || height <= 0) return;

  const samples = smooth && place.scale < 1 ? 2 : 1;
  const hit = 4 / (samples * samples);
  const xs = positions(left, width, samples, place.x, place.scale, mask.width);
  const ys = positions(top, height, samples, place.y, place.scale, mask.height);
  const segments = byTile(xs);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const hits = new Uint8Array(width);
  const shift = samples - 1; // sample index -> pixel index

  for (let row = 0; row < height; row++) {
    let touched = false;
    for (let sub = 0; sub < samples; sub++) {
      const y = ys[row * samples + sub];
      const base = Math.floor(y / TILE) * mask.columns;
      const line = (y % TILE) * TILE;
      for (const { column, from, to } of segments) {
        const tile = mask.tiles[base + column];
        if (!tile) continue;
        if (!touched) hits.fill(0);
        touched = true;
        const offset = line - column * TILE;
        for (let k = from; k < to; k++) hits[k >> shift] += tile[offset + xs[k]] * hit;
      }
    }
    if (!touched) continue;
    const start = row * width;
    const diagonal = left + top + row;
    for (let column = 0; column < width; column++) {
      if (hits[column]) pixels[start + column] = SHADES[((diagonal + column) >> 3) & 1][hits[column]];
    }
  }
  context.putImageData(image, left, top);
}

/** Image coordinates of the samples of `count` device pixels from `start`. */
function positions(start, count, samples, offset, scale, limit) {
  const result = new Int32Array(count * samples);
  for (let k = 0; k < result.length; k++) {
    const at = start + (k + 0.5) / samples;
    result[k] = clamp(Math.floor((at - offset) / scale), 0, limit - 1);
  }
  return result;
}

/** Runs of samples that fall into the same column of tiles. */
function byTile(xs) {
  const segments = [];
  for (let from = 0; from < xs.length; ) {
    const column = Math.floor(xs[from] / TILE);
    let to = from + 1;
    while (to < xs.length && xs[to] < (column + 1) * TILE) to++;
    segments.push({ column, from, to });
    from = to;
  }
  return segments;
}

function clamp(value, low, high) {
  return value < low ? low : value > high ? high : value;
}
