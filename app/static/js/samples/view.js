/**
 * The Samples view: grids of what the generators draw, and the way between two
 * seeds. The address holds all that makes a sheet what it is, so that it is a
 * link that reproduces it.
 */

import { announce } from "../announce.js";
import { download, field, h, icon, iconButton, showError } from "../dom.js";
import { plural } from "../format.js";
import { drawFile, drawSamples } from "./draw.js";
import { createInterpolation } from "./interpolation.js";
import { createLightbox } from "./lightbox.js";

const MODELS = [
  ["dcgan", "Faces", "DCGAN · Radford et al. 2016"],
  ["vanilla-gan", "Digits", "Vanilla GAN · Goodfellow et al. 2014"],
];
const COUNTS = [4, 9, 16, 25, 36, 64];
const STAGES = 16;
const LARGEST_SEED = 999_999;

export class SamplesView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.wish = { model: "dcgan", n: 16, seed: 7, interpolate: null };
    /** @type {import("./draw.js").Sheet | null} what is shown */
    this.sheet = null;
    /** @type {import("./draw.js").Wish | null} what it was drawn by: `wish` is ahead of it while another is drawn */
    this.drawn = null;
    this.lightbox = createLightbox();
    this.interpolation = createInterpolation({ onEnlarge: (index) => this.enlarge(index) });
    this._build(root);
  }

  /** @param {{params: URLSearchParams, first: boolean}} address */
  show({ params, first }) {
    const whole = (name) => (/^\d{1,15}$/.test(params.get(name) ?? "") ? Number(params.get(name)) : null);
    const model = MODELS.some(([name]) => name === params.get("model")) ? params.get("model") : this.wish.model;
    const n = Math.min(Math.max(whole("n") ?? this.wish.n, 1), 64);
    const wish = { model, n, seed: whole("seed") ?? this.wish.seed, interpolate: whole("interpolate") };
    const same = JSON.stringify(wish) === JSON.stringify(this.wish);
    if (first || (params.size && !same)) {
      this.wish = wish;
      this._fill();
      this.draw();
    }
  }

  /** The browser's Back leads away from an enlarged picture too, and its dialog makes all the rest inert. */
  hide() {
    this.lightbox.close();
  }

  keyChanged() {
    this.draw();
  }

  _build(root) {
    this._models = MODELS.map(([value, text, paper]) => {
      const input = h("input", { type: "radio", name: "sample-model", value, onchange: () => this._read() });
      return h("label", { class: "segment", title: paper }, input, h("span", {}, text));
    });
    this._kinds = [
      ["grid", "Grid"],
      ["interpolation", "Interpolation"],
    ].map(([value, text]) => {
      const input = h("input", { type: "radio", name: "sample-kind", value, onchange: () => this._read() });
      return h("label", { class: "segment" }, input, h("span", {}, text));
    });
    const onchange = () => this._read();
    this._count = h("select", { onchange });
    this._seed = h("input", { type: "number", min: 0, step: 1, inputmode: "numeric", onchange });
    this._other = h("input", { type: "number", min: 0, step: 1, inputmode: "numeric", onchange });
    const dice = iconButton("dice", "Another seed", {
      onclick: () => {
        this._seed.value = String(Math.floor(Math.random() * LARGEST_SEED));
        if (this.wish.interpolate !== null) this._other.value = String(Math.floor(Math.random() * LARGEST_SEED));
        this._read();
      },
    });
    this._countField = field("How many", this._count);
    this._seedField = field("Seed", this._seed);
    this._otherField = field("To seed", this._other);
    this._error = h("p", { class: "error", role: "alert", hidden: true });
    this._caption = h("p", { class: "caption", role: "status" });
    this._grid = h("ul", { class: "samples-grid", "aria-label": "Pictures" });
    this._link = h("button", { type: "button", class: "button", onclick: () => this.copyLink() }, icon("link"), "Copy link");
    const save = (format, text) =>
      h("button", { type: "button", class: "button", onclick: () => this.save(format) }, icon("save"), text);
    root.append(
      h(
        "div",
        { class: "page" },
        h(
          "header",
          { class: "page-head" },
          h("h1", {}, "Samples"),
          h("p", { class: "lead" }, "Pictures of nobody and nothing, drawn from noise. The same seed draws the same picture."),
        ),
        h(
          "div",
          { class: "samples" },
          h(
            "form",
            { class: "card samples-form", "aria-label": "What to draw", onsubmit: (event) => (event.preventDefault(), this._read()) },
            h("fieldset", { class: "segments" }, h("legend", {}, "Generator"), ...this._models),
            h("fieldset", { class: "segments" }, h("legend", {}, "Show"), ...this._kinds),
            this._countField,
            h("div", { class: "seed" }, this._seedField, dice),
            this._otherField,
          ),
          h(
            "section",
            { class: "samples-sheet", "aria-label": "What was drawn" },
            this._error,
            this._grid,
            this.interpolation.element,
            h(
              "footer",
              { class: "sheet-foot" },
              this._caption,
              h("div", { class: "buttons" }, this._link, save("png", "PNG"), save("zip", "ZIP")),
            ),
          ),
        ),
      ),
      this.lightbox.element,
    );
  }

  /** Controls from the wish. */
  _fill() {
    const { model, n, seed, interpolate } = this.wish;
    for (const label of this._models) label.firstChild.checked = label.firstChild.value === model;
    const kind = interpolate === null ? "grid" : "interpolation";
    for (const label of this._kinds) label.firstChild.checked = label.firstChild.value === kind;
    const counts = COUNTS.includes(n) ? COUNTS : [...COUNTS, n].sort((a, b) => a - b); // a link may ask for any number
    this._count.replaceChildren(...counts.map((each) => h("option", { value: each }, plural(each, "picture"))));
    this._count.value = String(n);
    this._seed.value = String(seed);
    this._other.value = String(interpolate ?? seed + 1);
    this._countField.hidden = kind === "interpolation";
    this._otherField.hidden = kind === "grid";
    this._seedField.querySelector("label").textContent = kind === "interpolation" ? "From seed" : "Seed";
  }

  /** The wish from the controls; a change is drawn at once. */
  _read() {
    const checked = (labels) => labels.map((label) => label.firstChild).find((input) => input.checked).value;
    const whole = (input) => Math.min(Math.max(Math.floor(Number(input.value)) || 0, 0), Number.MAX_SAFE_INTEGER);
    const between = checked(this._kinds) === "interpolation";
    this.wish = {
      model: checked(this._models),
      n: between ? STAGES : this.wish.interpolate === null ? Number(this._count.value) : 16,
      seed: whole(this._seed),
      interpolate: between ? whole(this._other) : null,
    };
    this._fill();
    history.replaceState(null, "", this._hash());
    this.draw();
  }

  _hash() {
    const { model, n, seed, interpolate } = this.wish;
    const other = interpolate === null ? "" : `&interpolate=${interpolate}`;
    return `#/samples?model=${model}&n=${n}&seed=${seed}${other}`;
  }

  async draw() {
    this._running?.abort();
    const running = (this._running = new AbortController());
    const { wish } = this;
    const between = wish.interpolate !== null;
    showError(this._error);
    this._grid.classList.add("pending");
    this._caption.textContent = "Drawing…";
    try {
      const sheet = await drawSamples(wish, running.signal);
      this.sheet = sheet;
      this.drawn = wish;
      this._grid.hidden = between;
      this.interpolation.element.hidden = !between;
      if (between) this.interpolation.show(sheet.sources, wish.seed, wish.interpolate);
      else this._showGrid(sheet);
      this._caption.textContent = `${plural(sheet.sources.length, "picture")} of ${sheet.width} × ${sheet.height} by ${sheet.model}`;
    } catch (error) {
      if (error.name === "AbortError") return; // another wish has taken its place
      this._grid.hidden = this.interpolation.element.hidden = true; // pictures of another wish
      this._caption.textContent = "";
      showError(this._error, error.message);
    } finally {
      if (this._running === running) this._grid.classList.remove("pending");
    }
  }

  _showGrid({ sources }) {
    const columns = Math.ceil(Math.sqrt(sources.length));
    this._grid.style.setProperty("--columns", String(columns));
    this._grid.replaceChildren(
      ...sources.map((src, index) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", "aria-label": `Enlarge picture ${index + 1}`, onclick: () => this.enlarge(index) },
            h("img", { src, alt: "" }),
          ),
        ),
      ),
    );
  }

  enlarge(index) {
    const { seed, interpolate, model } = this.drawn;
    const where = interpolate === null ? `seed ${seed}` : `seeds ${seed} to ${interpolate}`;
    const captions = this.sheet.sources.map((_, i) => `${model}, ${where}, picture ${i + 1}`);
    this.lightbox.open(this.sheet.sources, captions, index);
  }

  async copyLink() {
    history.replaceState(null, "", this._hash());
    const label = this._link.lastChild;
    try {
      await navigator.clipboard.writeText(location.href);
      label.textContent = "Copied";
      announce("Link copied.");
    } catch {
      // Not allowed to: the address bar holds the same link.
      label.textContent = "It is in the address bar";
    }
    setTimeout(() => (label.textContent = "Copy link"), 2500);
  }

  async save(format) {
    const { wish } = this;
    try {
      download(await drawFile(wish, format), `${wish.model}-${wish.seed}.${format}`);
    } catch (error) {
      showError(this._error, error.message);
    }
  }
}
