/** Asking a generator for pictures. */

import { address, Problem, request } from "../api.js";
import { pause } from "../jobs.js";

/** @typedef {{model: string, n: number, seed: number, interpolate?: number | null}} Wish */
/** @typedef {{model: string, width: number, height: number, sources: string[]}} Sheet pictures as data: URLs */

const PATIENCE = 8;

/**
 * @param {Wish} wish @param {AbortSignal} [signal]
 * @returns {Promise<Sheet>} raises Problem, AbortError
 */
export async function drawSamples(wish, signal) {
  const sheet = await (await fetchSheet(wish, "json", signal)).json();
  return { ...sheet, sources: sheet.images.map((image) => `data:image/png;base64,${image}`) };
}

/**
 * The same pictures as one file.
 * @param {Wish} wish @param {"png" | "webp" | "zip"} format @returns {Promise<Blob>}
 */
export async function drawFile(wish, format) {
  return (await fetchSheet(wish, format)).blob();
}

/** A request that is not ready is answered 202; sent again, it finds the same job. */
async function fetchSheet({ model, ...query }, format, signal) {
  for (let attempt = 0; attempt < PATIENCE; attempt++) {
    const response = await request(address(`samples/${encodeURIComponent(model)}`, { ...query, format }), { signal });
    if (response.status === 200) return response;
    await pause(1000 * (Number(response.headers.get("Retry-After")) || 1), signal);
  }
  throw new Problem(503, "Not ready", "The pictures are not ready yet: the workers are busy. Try again later.");
}
