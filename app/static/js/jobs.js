/** Following a job from outside: its events as they come, its record at the end. */

import { getJson, Problem, request } from "./api.js";

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const RECONNECT = 1000;
const PATIENCE = 20; // broken connections in a row before giving up

/** @typedef {{id: string, state: string, position: number | null, progress: any, failure: any, result: any}} Job */

/** @param {Job} job */
export function hasEnded(job) {
  return ENDED.has(job.state);
}

/**
 * Wait for a job to end, through broken connections and restarts of the service.
 * @param {string} id
 * @param {{onJob?: (job: Job) => void, signal?: AbortSignal}} [options] `onJob` hears of every change
 * @returns {Promise<Job>} the ended job; raises Problem, or AbortError
 */
export async function followJob(id, { onJob = () => {}, signal } = {}) {
  /** @type {Job} */
  let job = await getJson(`jobs/${id}`, { signal });
  onJob(job);
  const queue = setInterval(async () => {
    // A place in the queue changes without an event of this job's own.
    if (job.state !== "queued") return;
    const now = await getJson(`jobs/${id}`, { signal }).catch(() => null);
    if (now && job.state === "queued") onJob((job = now));
  }, 1500);
  try {
    let last = "";
    for (let failures = 0; !hasEnded(job); ) {
      try {
        const headers = last ? { "Last-Event-ID": last } : {};
        const response = await request(`jobs/${id}/events`, { headers, signal });
        for await (const event of readEvents(response)) {
          failures = 0;
          last = event.id || last;
          const state = event.type === "progress" ? "running" : event.type;
          job = { ...job, state, progress: event.data?.progress ?? job.progress };
          if (ENDED.has(event.type)) break;
          onJob(job);
        }
        job = await getJson(`jobs/${id}`, { signal });
      } catch (error) {
        if (!(error instanceof Problem) || !error.passing || ++failures > PATIENCE) throw error;
        await pause(RECONNECT, signal);
      }
    }
  } finally {
    clearInterval(queue);
  }
  onJob(job);
  return job;
}

/** @param {string} id @returns {Promise<Job>} */
export function cancelJob(id) {
  return getJson(`jobs/${id}/cancel`, { method: "POST" });
}

/**
 * Server-sent events of a response. Read here and not by EventSource, which cannot send an API key.
 * @param {Response} response @yields {{id: string, type: string, data: any}}
 */
export async function* readEvents(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        if (error.name === "AbortError") throw error;
        throw new Problem(0, "The connection broke", "The connection to the service broke.");
      });
      if (done) return;
      text += value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // already closed or broken: nothing is left to read
  }
}

function parseEvent(block) {
  const event = { id: "", type: "", data: "" };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (name === "id") event.id = value;
    else if (name === "event") event.type = value;
    else if (name === "data") event.data += value;
  }
  return event.type ? { ...event, data: event.data ? JSON.parse(event.data) : null } : null;
}

/** @param {number} milliseconds @param {AbortSignal} [signal] */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** An id for a job of this page's own: sending it twice runs it once. */
export function newJobId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
