/**
 * The mask, at the picture's own resolution: 1 = fill, 0 = keep.
 *
 * It lies in square tiles of one byte a pixel; a tile that holds nothing is
 * null. So a stroke costs what it covers, whatever the size of the picture,
 * and undo keeps only the tiles that a stroke touched, run-length packed.
 */

export const TILE = 256;
const SHIFT = 8;
const AREA = TILE * TILE;

/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Rect half-open, in image pixels */
/** @typedef {Map<number, Uint16Array>} Edit tile index -> its packed content before the edit */

export class Mask {
  /** @param {number} width @param {number} height of the picture, in pixels */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.columns = Math.ceil(width / TILE);
    this.rows = Math.ceil(height / TILE);
    /** @type {(Uint8Array | null)[]} */
    this.tiles = new Array(this.columns * this.rows).fill(null);
    this._counts = new Int32Array(this.tiles.length);
    this._stale = new Set();
    /** @type {Edit | null} */
    this._edit = null;
  }

  /** @param {Edit} snapshot @param {{width: number, height: number}} size @returns {Mask} as it was then */
  static from(snapshot, { width, height }) {
    const mask = new Mask(width, height);
    mask.swap(snapshot);
    return mask;
  }

  /** Start recording an edit; every change up to `commit` belongs to it. */
  begin() {
    this._edit = new Map();
  }

  /** @returns {Edit} what the edit touched, as it was before */
  commit() {
    const edit = this._edit ?? new Map();
    this._edit = null;
    return edit;
  }

  /**
   * Set pixels x0 <= x < x1 of row y; clipped to the picture.
   * @param {number} y @param {number} x0 @param {number} x1 @param {0 | 1} value
   */
  fillSpan(y, x0, x1, value) {
    if (y < 0 || y >= this.height) return;
    let x = Math.max(0, x0);
    const end = Math.min(this.width, x1);
    const row = (y >> SHIFT) * this.columns;
    const inner = (y & (TILE - 1)) << SHIFT;
    while (x < end) {
      const column = x >> SHIFT;
      const stop = Math.min(end, (column + 1) << SHIFT);
      const index = row + column;
      if (value || this.tiles[index]) {
        const from = inner + (x & (TILE - 1));
        this._writable(index).fill(value, from, from + stop - x);
      }
      x = stop;
    }
  }

  /** @param {number} x @param {number} y @returns {0 | 1} */
  at(x, y) {
    const tile = this.tiles[(y >> SHIFT) * this.columns + (x >> SHIFT)];
    return tile ? /** @type {0 | 1} */ (tile[((y & (TILE - 1)) << SHIFT) + (x & (TILE - 1))]) : 0;
  }

  /** Nothing is to be filled. */
  clear() {
    for (let index = 0; index < this.tiles.length; index++) {
      if (!this.tiles[index]) continue;
      this._remember(index);
      this.tiles[index] = null;
    }
  }

  /** Put another mask's tile in the place of this one's. @param {number} index @param {Uint8Array} tile */
  replace(index, tile) {
    this._remember(index);
    this.tiles[index] = tile;
  }

  /** Fill becomes keep, keep becomes fill. */
  invert() {
    for (let index = 0; index < this.tiles.length; index++) {
      const { width, height } = this.extent(index);
      const tile = this._writable(index);
      for (let y = 0; y < height; y++) {
        for (let i = y << SHIFT, end = i + width; i < end; i++) tile[i] ^= 1;
      }
    }
  }

  /**
   * Put back what an edit remembers.
   * @param {Edit} edit @returns {Edit} what undoes that again
   */
  swap(edit) {
    const back = new Map();
    for (const [index, packed] of edit) {
      back.set(index, pack(this.tiles[index]));
      this.tiles[index] = unpack(packed);
      this._stale.add(index);
    }
    return back;
  }

  /** A packed copy of the whole mask; `swap` brings it back. @returns {Edit} */
  snapshot() {
    return new Map(this.tiles.map((tile, index) => [index, pack(tile)]));
  }

  /** @param {Edit} snapshot @returns {boolean} whether the mask is what `snapshot` returned then */
  matches(snapshot) {
    return this.tiles.every((tile, index) => {
      const now = pack(tile);
      const then = snapshot.get(index);
      return now.length === then.length && now.every((at, i) => at === then[i]);
    });
  }

  /** @returns {number} pixels to fill */
  count() {
    for (const index of this._stale) {
      const tile = this.tiles[index];
      this._counts[index] = tile ? sum(tile) : 0;
      if (tile && this._counts[index] === 0 && !this._edit) this.tiles[index] = null;
    }
    this._stale.clear();
    return this._counts.reduce((total, count) => total + count, 0);
  }

  /** @returns {Rect | null} the smallest box around all that is to be filled */
  bounds() {
    let box = null;
    this.tiles.forEach((tile, index) => {
      const first = tile?.indexOf(1) ?? -1;
      if (first < 0) return;
      const { x, y } = this.extent(index);
      const last = tile.lastIndexOf(1);
      let x0 = TILE;
      let x1 = 0;
      for (let row = first >> SHIFT; row <= last >> SHIFT; row++) {
        const line = tile.subarray(row << SHIFT, (row + 1) << SHIFT);
        const from = line.indexOf(1);
        if (from >= 0) [x0, x1] = [Math.min(x0, from), Math.max(x1, line.lastIndexOf(1) + 1)];
      }
      box ??= { x0: Infinity, y0: Infinity, x1: 0, y1: 0 };
      box.x0 = Math.min(box.x0, x + x0);
      box.y0 = Math.min(box.y0, y + (first >> SHIFT));
      box.x1 = Math.max(box.x1, x + x1);
      box.y1 = Math.max(box.y1, y + (last >> SHIFT) + 1);
    });
    return box;
  }

  /** @param {number} index @returns {{x: number, y: number, width: number, height: number}} the part inside the picture */
  extent(index) {
    const x = (index % this.columns) * TILE;
    const y = Math.floor(index / this.columns) * TILE;
    return { x, y, width: Math.min(TILE, this.width - x), height: Math.min(TILE, this.height - y) };
  }

  /** @param {number} index @returns {Uint8Array} the tile, remembered as it was before the running edit */
  _writable(index) {
    this._remember(index);
    return (this.tiles[index] ??= new Uint8Array(AREA));
  }

  _remember(index) {
    this._stale.add(index);
    if (this._edit && !this._edit.has(index)) this._edit.set(index, pack(this.tiles[index]));
  }
}

/** Bytes that an edit holds. @param {Edit} edit */
export function weight(edit) {
  let bytes = 0;
  for (const packed of edit.values()) bytes += packed.byteLength + 64;
  return bytes;
}

const EMPTY = new Uint16Array(0);
const scratch = new Uint16Array(AREA);

/** Positions where the value toggles, the first run being 0. @param {Uint8Array | null} tile */
function pack(tile) {
  if (!tile) return EMPTY;
  let n = 0;
  let value = 0;
  // indexOf is native: it runs through a tile of few runs at memory speed.
  for (let at = tile.indexOf(1); at !== -1; at = tile.indexOf(value ^ 1, at)) {
    scratch[n++] = at;
    value ^= 1;
  }
  return n ? scratch.slice(0, n) : EMPTY;
}

/** @param {Uint16Array} packed @returns {Uint8Array | null} */
function unpack(packed) {
  if (packed.length === 0) return null;
  const tile = new Uint8Array(AREA);
  for (let i = 0; i < packed.length; i += 2) tile.fill(1, packed[i], packed[i + 1] ?? AREA);
  return tile;
}

/** Sum of a tile of zeros and ones, four bytes at a time. */
function sum(tile) {
  const words = new Uint32Array(tile.buffer, tile.byteOffset, AREA / 4);
  let total = 0;
  for (let start = 0; start < words.length; start += 128) {
    let lanes = 0; // each byte counts one pixel in four: 128 at most, so none overflows
    for (let i = start; i < start + 128; i++) lanes += words[i];
    total += (lanes & 255) + ((lanes >>> 8) & 255) + ((lanes >>> 16) & 255) + (lanes >>> 24);
  }
  return total;
}
