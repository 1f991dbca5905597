/** A small line chart: one figure over the steps of a run. */

import { h } from "../dom.js";
import { number } from "../format.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320;
const HEIGHT = 120;
const MOST_POINTS = 320; // more than there are pixels shows nothing more

/** @typedef {[number, number][]} Series step, value */

/**
 * @param {string} title
 * @returns {{element: HTMLElement, update: (series: Series, total: number) => void}}
 */
export function createChart(title) {
  const value = h("span", { class: "chart-value" });
  const high = h("span", { class: "chart-high" });
  const low = h("span", { class: "chart-low" });
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const path = node("path", { class: "chart-line" });
  const cursor = node("line", { class: "chart-cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
  svg.append(path, cursor);
  const element = h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, h("span", {}, title), value),
    h("div", { class: "chart-plot" }, svg, high, low),
  );
  /** @type {Series} */
  let points = [];
  let last = 1;

  const rest = () => {
    cursor.setAttribute("visibility", "hidden");
    value.textContent = points.length ? number(points.at(-1)[1]) : "";
  };
  svg.addEventListener("pointermove", (event) => {
    if (!points.length) return;
    const step = (event.offsetX / svg.clientWidth) * last;
    const nearest = points.reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));
    const x = (nearest[0] / last) * WIDTH;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    value.textContent = `${number(nearest[1])} at step ${number(nearest[0])}`;
  });
  svg.addEventListener("pointerleave", rest);

  return {
    element,
    update(series, total) {
      if (series.length === 0) return;
      points = thin(series);
      element.classList.toggle("single", points.length === 1); // a figure, and no line yet
      last = Math.max(total, points.at(-1)?.[0] ?? 1, 1);
      const values = points.map(([, each]) => each);
      const top = Math.max(...values);
      const bottom = Math.min(...values);
      const range = top - bottom || Math.abs(top) || 1;
      const place = ([step, each]) =>
        `${((step / last) * WIDTH).toFixed(1)} ${(4 + ((top - each) / range) * (HEIGHT - 8)).toFixed(1)}`;
      path.setAttribute("d", `M${points.map(place).join("L")}`);
      high.textContent = number(top);
      low.textContent = number(bottom);
      const now = points.at(-1)?.[1];
      svg.setAttribute("aria-label", `${title}: ${number(now)} now, between ${number(bottom)} and ${number(top)} so far`);
      if (cursor.getAttribute("visibility") === "hidden") rest();
    },
  };
}

/** Means of neighbours, so that a long run stays quick to draw. @param {Series} series @returns {Series} */
function thin(series) {
  const group = Math.ceil(series.length / MOST_POINTS);
  if (group <= 1) return series;
  const means = [];
  for (let i = 0; i < series.length; i += group) {
    const part = series.slice(i, i + group);
    means.push([part.at(-1)[0], part.reduce((sum, [, value]) => sum + value, 0) / part.length]);
  }
  return means;
}

function node(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}
