/** Sending a picture and its mask, and bringing back what became of them. */

import { getJson, Problem, request } from "../api.js";
import { encodeMask } from "../editor/mask-file.js";
import { Mask } from "../editor/mask.js";
import { markTransparent } from "../editor/transparency.js";
import { cancelJob, followJob, hasEnded, newJobId, pause } from "../jobs.js";

/** @typedef {import("../editor/picture.js").Picture} Picture */
/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {{blob: Blob, job: any, seconds: number}} Completion PNG bytes as the service gave them */

/** The person changed their mind. */
export class CancelledError extends Error {}

const TRIES = 3;

/**
 * @param {Picture} picture @param {Mask} mask @param {Settings} settings
 * @param {{onJob: (job: any) => void, signal: AbortSignal}} options abort cancels the job
 * @returns {Promise<Completion>} raises Problem, CancelledError
 */
export async function complete(picture, mask, settings, { onJob, signal }) {
  const started = performance.now();
  const id = newJobId();
  const form = new FormData();
  form.set("image", picture.file, picture.name);
  // Without a mask the service fills what is transparent, and makes it opaque: with one, the hole stays a hole.
  if (!marksTransparency(mask, picture)) form.set("mask", await encodeMask(mask), "mask.png");
  for (const [name, value] of Object.entries(settings)) if (value !== "") form.set(name, String(value));
  form.set("format", "png");
  try {
    const accepted = await submit(id, form, signal);
    // 202 is the job itself; a picture so small that it is ready already is asked for like any other.
    let job = accepted.status === 202 ? await accepted.json() : await getJson(`jobs/${id}`, { signal });
    if (!hasEnded(job)) job = await followJob(id, { onJob, signal });
    if (job.state === "cancelled") throw new CancelledError();
    if (job.state === "failed") throw new Problem(500, "The job failed", job.failure?.detail);
    const blob = await (await request(`jobs/${id}/result`, { signal })).blob();
    return { blob, job, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    if (!signal.aborted) throw error;
    // Whether it arrived or not, it is to stop; an answer of "unknown" or none at all changes nothing for us.
    await cancelJob(id).catch(() => {});
    throw new CancelledError();
  }
}

/** Whether exactly what is transparent is to be filled. @param {Mask} mask @param {Picture} picture */
function marksTransparency(mask, picture) {
  if (!picture.transparent) return false;
  const transparency = new Mask(picture.width, picture.height);
  markTransparent(picture, transparency);
  return mask.matches(transparency.snapshot());
}

/** PUT under an id of our own: repeated after a broken connection it still runs once. */
async function submit(id, body, signal) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await request(`inpaint/${id}`, { method: "PUT", body, signal, headers: { Prefer: "respond-async" } });
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing || attempt === TRIES) throw error;
      await pause(400 * attempt, signal);
    }
  }
}
