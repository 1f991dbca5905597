/** Starts the page: which view is shown, the API key, the state of the service. */

import { apiKey, keyRequests, request, setApiKey } from "./api.js";
import { InpaintView } from "./inpaint/view.js";
import { ModelsView } from "./models/view.js";
import { SamplesView } from "./samples/view.js";
import { TrainingView } from "./training/view.js";

const VIEWS = { inpaint: InpaintView, samples: SamplesView, training: TrainingView, models: ModelsView };
const TITLES = { inpaint: "Inpaint", samples: "Samples", training: "Training", models: "Models and jobs" };

/** @type {Record<string, any>} views that have been shown; each keeps its state while another is on screen */
const shown = {};
let current = null;

/** The address says what is shown: `#/samples?model=dcgan&seed=7`. */
function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const key = VIEWS[name] ? name : "inpaint";
  const first = !shown[key];
  shown[key] ??= new VIEWS[key](document.getElementById(`view-${key}`));
  if (current !== key) {
    shown[current]?.hide?.();
    for (const id of Object.keys(VIEWS)) document.getElementById(`view-${id}`).hidden = id !== key;
    for (const link of document.querySelectorAll(".nav a")) {
      if (link.dataset.view === key) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${TITLES[key]} · inpaint`;
    if (current !== null) document.getElementById("main").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  current = key;
  shown[key].show?.({ params: new URLSearchParams(query), rest, first });
}

function setUpKeys() {
  const dialog = document.getElementById("key-dialog");
  const input = document.getElementById("key-input");
  const note = document.getElementById("key-note");
  const button = document.getElementById("key-button");
  const open = (why) => {
    note.textContent = why;
    input.value = apiKey();
    if (!dialog.open) dialog.showModal();
    input.select();
  };
  const usual = note.textContent;
  let asked = null; // once for each key that was refused: who closes the dialog wants to be left alone
  button.addEventListener("click", () => open(usual));
  keyRequests.addEventListener("needed", () => {
    if (asked === apiKey()) return;
    asked = apiKey();
    open(asked ? "The service does not know this key. Check the key, or ask the operator for another one." : "This service needs a key. Its operator gives them out.");
  });
  document.getElementById("key-cancel").addEventListener("click", () => dialog.close());
  document.getElementById("key-form").addEventListener("submit", () => {
    setApiKey(input.value.trim());
    button.classList.toggle("set", Boolean(apiKey()));
    for (const view of Object.values(shown)) view.keyChanged?.();
  });
  button.classList.toggle("set", Boolean(apiKey()));
}

/** A quiet line in the header when nothing could be run at present. */
async function watchService() {
  const line = document.getElementById("service");
  let text = "";
  try {
    await request("readyz");
  } catch (problem) {
    text = problem.status === 0 ? "Service not reachable" : problem.status === 503 ? "Service is starting" : "";
  }
  line.textContent = text;
  line.hidden = !text;
  setTimeout(watchService, text ? 2000 : 20_000);
}

window.addEventListener("hashchange", route);
setUpKeys();
route();
watchService();
