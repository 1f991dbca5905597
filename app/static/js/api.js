/**
 * The service's API, by addresses relative to the page, so that it works behind
 * a path prefix. Every failure becomes a Problem whose message a person can act on.
 */

const BASE = new URL(".", document.baseURI);
const KEY = "inpaint-api-key";

/** Asked for a key, or for another one: main.js opens the dialog. */
export const keyRequests = new EventTarget();

/** An error of the service (RFC 9457), or of the way to it (`status` 0). */
export class Problem extends Error {
  constructor(status, title, detail, { type = "", retryAfter = 0 } = {}) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.type = type;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may well succeed a moment later. */
  get passing() {
    return this.status === 0 || this.status === 503;
  }
}

export function apiKey() {
  return localStorage.getItem(KEY) ?? "";
}

/** @param {string} key empty forgets it */
export function setApiKey(key) {
  if (key) localStorage.setItem(KEY, key);
  else localStorage.removeItem(KEY);
}

/** @param {string} path e.g. `jobs/1` @param {Record<string, any>} [query] null values are left out */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

/**
 * @param {string | URL} path relative to the page
 * @param {RequestInit & {json?: any}} [options] `json` is sent as the body
 * @returns {Promise<Response>} of a status below 400; raises Problem, or AbortError when aborted
 */
export async function request(path, { json, ...options } = {}) {
  const headers = new Headers(options.headers);
  const key = apiKey();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  if (json !== undefined) {
    headers.set("Content-Type", "application/json");
    options.body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(address(path), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(
      0,
      "The service does not answer",
      "The service does not answer. Check that it is running and that you are online, then try again.",
    );
  }
  if (response.ok || response.status === 304) return response;
  const problem = await readProblem(response);
  // The key was changed while the service refused the old one: that says nothing of the new one.
  if (problem.status === 401 && key !== apiKey()) return request(path, { json, ...options });
  if (problem.status === 401) keyRequests.dispatchEvent(new Event("needed"));
  throw problem;
}

/** @param {string | URL} path @param {RequestInit & {json?: any}} [options] */
export async function getJson(path, options) {
  return (await request(path, options)).json();
}

/** @param {Response} response @returns {Promise<Problem>} */
async function readProblem(response) {
  const body = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  let detail = body.detail ?? "";
  if (response.status === 429) {
    const wait = retryAfter ? ` in ${retryAfter} s` : " in a moment";
    detail = `${body.title ?? "The queue is full"}. Try again${wait}.`;
  } else if (response.status === 401) {
    // The service's own sentence is for programs: it speaks of headers.
    detail = apiKey()
      ? "The service does not know this API key. Enter another one with the key button at the top."
      : "This service needs an API key. Enter yours with the key button at the top.";
  } else if (!detail || typeof detail !== "string") {
    detail = `The service answered ${response.status} ${response.statusText}. Try again in a moment.`;
  }
  return new Problem(response.status, body.title ?? response.statusText, detail, { type: body.type, retryAfter });
}
