/** A picture's own transparency as a mask. */

/**
 * Mark every pixel that is more transparent than not, as the service reads a picture's own alpha.
 * @param {import("./picture.js").Picture} picture @param {import("./mask.js").Mask} mask
 */
export function markTransparent(picture, mask) {
  const [bitmap] = picture.levels;
  const band = 256;
  const canvas = new OffscreenCanvas(mask.width, Math.min(mask.height, band));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < mask.height; top += band) {
    const height = Math.min(band, mask.height - top);
    context.clearRect(0, 0, mask.width, band);
    context.drawImage(bitmap, 0, top, mask.width, height, 0, 0, mask.width, height);
    const { data } = context.getImageData(0, 0, mask.width, height);
    for (let y = 0; y < height; y++) {
      let from = -1;
      for (let x = 0; x <= mask.width; x++) {
        const inside = x < mask.width && data[(y * mask.width + x) * 4 + 3] < 128;
        if (inside && from < 0) from = x;
        if (!inside && from >= 0) {
          mask.fillSpan(top + y, from, x, 1);
          from = -1;
        }
      }
    }
  }
}
