/** A picture that is being edited: its file as it was chosen, and what the screen needs of it. */

/** Why a file cannot be opened, in words. */
export class PictureError extends Error {}

const SMALLEST_LEVEL = 900;
const UNREADABLE = /\.(tiff?|heic|heif|psd|raw|cr2|nef|dng)$/i;

export class Picture {
  /**
   * @param {Blob} file sent to the service byte for byte
   * @param {string} name @param {ImageBitmap[]} levels the picture, then halves of it; none while it rests
   * @param {boolean} transparent whether it has see-through pixels
   */
  constructor(file, name, levels, transparent) {
    this.file = file;
    this.name = name;
    this.levels = levels;
    this.transparent = transparent;
    this.width = levels[0].width;
    this.height = levels[0].height;
    /** For <img>; lives as long as the picture does. */
    this.url = URL.createObjectURL(file);
  }

  /** File name without its ending. */
  get stem() {
    return this.name.replace(/\.[^.]+$/, "") || "picture";
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {{scale: number, x: number, y: number}} place in device pixels
   */
  draw(context, place) {
    const { canvas } = context;
    context.clearRect(0, 0, canvas.width, canvas.height);
    const x = Math.round(place.x);
    const y = Math.round(place.y);
    const width = Math.round(place.x + this.width * place.scale) - x;
    const height = Math.round(place.y + this.height * place.scale) - y;
    if (this.transparent) drawChecks(context, x, y, width, height);
    // The smallest level that still has every pixel the screen shows: a 24-megapixel picture pans like a small one.
    const level = this.levels.findLast((bitmap) => bitmap.width >= width) ?? this.levels[0];
    context.imageSmoothingEnabled = place.scale < 3;
    context.imageSmoothingQuality = "medium";
    context.drawImage(level, x, y, width, height);
  }

  /** Keep the file alone: decoded, a photograph takes up ten times as much, or more. */
  rest() {
    this.levels.forEach((bitmap) => bitmap.close());
    this.levels = [];
  }

  /** @returns {Promise<Picture>} itself, ready to be drawn again; raises PictureError */
  async wake() {
    if (!this.levels.length) this.levels = await decode(this.file, this.name);
    return this;
  }

  close() {
    this.rest();
    URL.revokeObjectURL(this.url);
  }
}

/**
 * @param {Blob} file @param {string} name
 * @returns {Promise<Picture>} raises PictureError
 */
export async function openPicture(file, name) {
  const levels = await decode(file, name);
  return new Picture(file, name, levels, isTransparent(levels.at(-1)));
}

/** @returns {Promise<ImageBitmap[]>} the picture, then halves of it */
async function decode(file, name) {
  let full;
  try {
    full = await createImageBitmap(file);
  } catch {
    throw new PictureError(
      UNREADABLE.test(name)
        ? `The browser cannot show ${name}. Save it as PNG, JPEG or WebP and open that.`
        : `${name} is not a picture that the browser can read. Choose a PNG, JPEG, WebP or AVIF file.`,
    );
  }
  const levels = [full];
  while (Math.max(levels.at(-1).width, levels.at(-1).height) > 2 * SMALLEST_LEVEL) {
    const { width, height } = levels.at(-1);
    levels.push(
      await createImageBitmap(levels.at(-1), {
        resizeWidth: Math.max(1, width >> 1),
        resizeHeight: Math.max(1, height >> 1),
        resizeQuality: "medium",
      }),
    );
  }
  return levels;
}

/** @param {ImageBitmap} bitmap a small one */
function isTransparent(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
  return false;
}

let checks = null;

function drawChecks(context, x, y, width, height) {
  if (!checks) {
    checks = new OffscreenCanvas(16, 16);
    const paint = checks.getContext("2d");
    paint.fillStyle = "#fff";
    paint.fillRect(0, 0, 16, 16);
    paint.fillStyle = "#ddd";
    paint.fillRect(0, 0, 8, 8);
    paint.fillRect(8, 8, 8, 8);
  }
  context.fillStyle = context.createPattern(checks, "repeat");
  context.fillRect(x, y, width, height);
}
