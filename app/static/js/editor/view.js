/** How the picture lies on the screen: scale and offset, in CSS pixels. */

const LARGEST_SCALE = 32;
const LARGEST_FIT = 2;

export class View {
  constructor() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.screen = { width: 1, height: 1 };
    this.image = { width: 1, height: 1 };
    /** Whether the picture is to stay fitted when the screen changes. */
    this.fitted = true;
  }

  /** The scale at which the whole picture is seen, a small one enlarged a little. */
  get fitScale() {
    const margin = this.screen.width < 600 ? 12 : 28;
    const across = (this.screen.width - 2 * margin) / this.image.width;
    const down = (this.screen.height - 2 * margin) / this.image.height;
    return Math.max(Math.min(across, down, LARGEST_FIT), 0.001);
  }

  /** Show the whole picture, in the middle. */
  fit() {
    this.scale = this.fitScale;
    this.x = (this.screen.width - this.image.width * this.scale) / 2;
    this.y = (this.screen.height - this.image.height * this.scale) / 2;
    this.fitted = true;
  }

  /**
   * Zoom so that the point (x, y) of the screen stays where it is.
   * @param {number} scale CSS pixels per image pixel
   */
  zoomTo(scale, x = this.screen.width / 2, y = this.screen.height / 2) {
    const next = Math.min(Math.max(scale, Math.min(this.fitScale, 1) / 2), LARGEST_SCALE);
    this.x = x - ((x - this.x) * next) / this.scale;
    this.y = y - ((y - this.y) * next) / this.scale;
    this.scale = next;
    this.fitted = false;
    this._hold();
  }

  /** Move by screen pixels. */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this._hold();
  }

  /** Bring an image point into sight with the smallest move. */
  reveal(point, margin = 24) {
    const { x, y } = this.toScreen(point);
    const dx = Math.max(margin - x, 0) || Math.min(this.screen.width - margin - x, 0);
    const dy = Math.max(margin - y, 0) || Math.min(this.screen.height - margin - y, 0);
    if (dx || dy) this.pan(dx, dy);
    return Boolean(dx || dy);
  }

  /** Screen (CSS pixels within the stage) -> image. */
  toImage({ x, y }) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  /** Image -> screen (CSS pixels within the stage). */
  toScreen({ x, y }) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }

  /** Some of the picture always stays in sight. */
  _hold() {
    const keep = 48;
    const width = this.image.width * this.scale;
    const height = this.image.height * this.scale;
    this.x = Math.min(Math.max(this.x, keep - width), this.screen.width - keep);
    this.y = Math.min(Math.max(this.y, keep - height), this.screen.height - keep);
  }
}
