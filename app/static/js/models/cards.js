/** Model cards: what each model is good for, where it comes from, and which of its versions serves. */

import { getJson } from "../api.js";
import { h, showError } from "../dom.js";
import { duration, figureTitle, number, plural } from "../format.js";

/** In the order in which they are shown. */
const FAMILIES = { glcic: "Completion", dcgan: "Faces from noise", "vanilla-gan": "Digits from noise", "face-align": "Helper", "face-enlarge": "Helper" };

/** What a person came for first, helpers last. @param {any[]} models @returns {any[]} */
export function inOrder(models) {
  const place = ({ family }) => Object.keys(FAMILIES).indexOf(family) >>> 0; // unknown ones at the end
  return models.toSorted((a, b) => place(a) - place(b));
}

/**
 * @param {any} model as in `GET /models`
 * @param {() => void} onChanged another version serves now
 */
export function modelCard(model, onChanged) {
  const card = model.versions.find((each) => each.sha256.startsWith(model.active)) ?? model.versions[0];
  const metrics = Object.entries(card.metrics);
  const loaded = model.loaded_by?.[model.active] ?? 0;
  return h(
    "article",
    { class: "card" },
    h(
      "header",
      {},
      h("p", { class: "eyebrow" }, FAMILIES[model.family] ?? model.family),
      h("h2", {}, card.title),
      h(
        "p",
        { class: "reference" },
        h("code", {}, `${model.name}@${model.active}`),
        h("span", { class: `badge ${loaded ? "good" : ""}` }, loaded ? "Loaded" : "Loads when first used"),
      ),
    ),
    h("p", {}, card.description),
    metrics.length > 0 &&
      h(
        "table",
        { class: "metrics" },
        h("caption", {}, "Held-out figures"),
        h(
          "tbody",
          {},
          ...metrics.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, figureTitle(name)), h("td", {}, number(value)))),
        ),
      ),
    h(
      "details",
      { class: "provenance" },
      h("summary", {}, "Where it comes from"),
      h(
        "dl",
        { class: "facts" },
        ...[
          ["Data", card.data],
          ["Recipe", card.recipe],
          ["Trained", `${plural(card.images_seen, "picture")}, ${duration(card.hours * 3600)}`],
          ["Size", `up to ${card.image_size} × ${card.image_size}`],
          ["Licence", card.licence],
          ["Made", card.created],
          ["Command", card.command],
          ["SHA-256", card.sha256],
        ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]),
      ),
    ),
    versionChoice(model, onChanged),
  );
}

/** Which version serves; choosing another one rolls forward or back. */
function versionChoice(model, onChanged) {
  if (model.versions.length < 2) return null;
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const rows = model.versions.map((card, index) => {
    const version = card.sha256.slice(0, 8);
    const serves = version === model.active;
    const use = h("button", { type: "button", class: "button small", "aria-label": `Use version ${version}` }, "Use");
    use.addEventListener("click", async () => {
      showError(error);
      use.disabled = true;
      try {
        await getJson(`models/${model.name}/active`, { method: "PUT", json: { version } });
        onChanged();
      } catch (problem) {
        use.disabled = false;
        showError(error, problem.message);
      }
    });
    return h(
      "li",
      {},
      h("code", {}, version),
      h("span", { class: "muted" }, `${card.created}${index === 0 ? ", shipped" : ""}`),
      serves ? h("span", { class: "badge good" }, "In service") : use,
    );
  });
  return h("section", { class: "versions" }, h("h3", { class: "eyebrow" }, "Versions"), h("ul", {}, ...rows), error);
}

