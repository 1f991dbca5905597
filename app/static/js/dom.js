/** Building elements without a framework. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, any>} [props] attributes; `on...` listeners; true sets and false or null leaves out
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** @param {string} name of a symbol in icons.svg */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button with an icon; without `text` its label is read out and shown as a tooltip.
 * @param {string} symbol @param {string} label @param {Record<string, any>} [props]
 */
export function iconButton(symbol, label, props = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, ...props }, icon(symbol));
}

/**
 * A field with its label and a line of help.
 * @param {string} label @param {HTMLElement} control @param {string} [help]
 */
export function field(label, control, help) {
  control.id ||= `field-${++fields}`;
  const note = help ? h("p", { class: "help", id: `${control.id}-help` }, help) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

let fields = 0;

/** @param {[string, string][]} options value, text @param {string} [chosen] */
export function select(options, chosen, props = {}) {
  return h(
    "select",
    props,
    ...options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}

/** Save bytes under a name. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Show `message` in an alert, or hide it. @param {HTMLElement} element @param {string} [message] */
export function showError(element, message = "") {
  element.replaceChildren(...(message ? [icon("alert"), h("span", {}, message)] : []));
  element.hidden = !message;
}
