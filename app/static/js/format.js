/** Numbers as people read them. */

/** @param {number} share 0 to 1 */
export function percent(share) {
  const value = share * 100;
  if (value === 0) return "0 %";
  if (value < 0.1) return "under 0.1 %";
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** @param {number} value up to four significant digits, thousands apart */
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en").replaceAll(",", "\u202f");
  if (Math.abs(value) >= 0.001) return String(Number(value.toPrecision(4)));
  return value.toExponential(2);
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {number} pixels */
export function megapixels(pixels) {
  return `${Number((pixels / 1e6).toFixed(1))} megapixels`;
}

/** @param {string} iso @returns {string} the time today, else the date too */
export function when(iso) {
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  return date.toLocaleString("en-GB", today ? time : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

/** @param {number} n @param {string} one @param {string} [many] */
export function plural(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

const TERMS = {
  mse: "MSE", psnr: "PSNR", ssim: "SSIM", l1: "L1", db: "dB", percent: "%", px: "px", frechet: "Fréchet", wasserstein: "Wasserstein",
};

/** A figure's name as a title: `hole_psnr_db_128` -> `Hole PSNR dB 128`. @param {string} name */
export function figureTitle(name) {
  const words = name.split("_").map((word) => TERMS[word] ?? word);
  return words.join(" ").replace(/^./, (letter) => letter.toUpperCase());
}
