/** What a screen reader is told beside what is seen. */

const region = document.getElementById("announcer");

/** @param {string} text read out when the reader is idle */
export function announce(text) {
  region.textContent = text;
}
