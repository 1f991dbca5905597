/**
 * The mask as a file: written as a PNG of one bit a pixel (white = fill), read
 * from any image that the browser reads. A mask that is written and read again
 * is the same mask, so painted and uploaded masks give the same result.
 */

import { Mask, TILE } from "./mask.js";

/** What a mask file was refused for, in words. */
export class MaskFileError extends Error {}

/**
 * @param {Mask} mask
 * @returns {Promise<Blob>} PNG, grey, one bit a pixel, as large as the picture
 */
export async function encodeMask(mask) {
  const stride = 1 + Math.ceil(mask.width / 8); // a filter byte (0: none) before each row
  const rows = new Uint8Array(stride * mask.height);
  mask.tiles.forEach((tile, index) => {
    if (!tile) return;
    const { x, y, width, height } = mask.extent(index);
    for (let row = 0; row < height; row++) {
      const start = (y + row) * stride + 1;
      for (let column = 0; column < width; column++) {
        const at = x + column;
        if (tile[row * TILE + column]) rows[start + (at >> 3)] |= 128 >> (at & 7);
      }
    }
  });
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, mask.width);
  view.setUint32(4, mask.height);
  header[8] = 1; // bits a pixel; colour type 0 (grey) and the rest stay 0
  const deflated = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(deflated).arrayBuffer());
  const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  return new Blob([signature, chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", new Uint8Array(0))], {
    type: "image/png",
  });
}

/**
 * Read a mask as the service reads it: by alpha if that varies (opaque = fill), else by brightness (white = fill).
 * @param {Blob} file @param {number} width @param {number} height of the picture
 * @returns {Promise<Mask>} raises MaskFileError
 */
export async function decodeMask(file, width, height) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new MaskFileError("This file is not an image that the browser can read. Choose a PNG, JPEG or WebP mask.");
  }
  try {
    if (bitmap.width !== width || bitmap.height !== height) {
      throw new MaskFileError(
        `The mask is ${bitmap.width} × ${bitmap.height}, the picture ${width} × ${height}. ` +
          "Choose a mask of exactly the picture's size.",
      );
    }
    return readMask(bitmap);
  } finally {
    bitmap.close();
  }
}

/** @param {ImageBitmap} bitmap @returns {Mask} */
function readMask(bitmap) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, Math.min(height, TILE));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const byLight = new Mask(width, height);
  const byAlpha = new Mask(width, height);
  let seeThrough = false;
  for (let top = 0; top < height; top += TILE) {
    const band = Math.min(TILE, height - top);
    context.clearRect(0, 0, width, TILE);
    context.drawImage(bitmap, 0, top, width, band, 0, 0, width, band);
    const { data } = context.getImageData(0, 0, width, band);
    for (let row = 0; row < band; row++) {
      const start = row * width * 4;
      spans(byLight, top + row, width, (x) => {
        const i = start + x * 4;
        return 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2] >= 127.5;
      });
      spans(byAlpha, top + row, width, (x) => {
        const alpha = data[start + x * 4 + 3];
        seeThrough ||= alpha < 255;
        return alpha >= 128;
      });
    }
  }
  const mask = seeThrough ? byAlpha : byLight;
  if (mask.count() === 0) {
    const [marked, rest] = seeThrough ? ["opaque", "transparent"] : ["white", "black"];
    throw new MaskFileError(
      `This mask marks nothing: it has no ${marked} pixel. Paint what should go ${marked} and the rest ${rest}.`,
    );
  }
  return mask;
}

function spans(mask, y, width, inside) {
  let from = -1;
  for (let x = 0; x < width; x++) {
    if (inside(x)) {
      if (from < 0) from = x;
    } else if (from >= 0) {
      mask.fillSpan(y, from, x, 1);
      from = -1;
    }
  }
  if (from >= 0) mask.fillSpan(y, from, width, 1);
}

/** One PNG chunk: length, name, data, CRC over name and data. */
function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = name.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
