// Elements without a framework.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "html")
      element.innerHTML = value; // only ever constant text of these modules
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * An HTML element: h("button", {class: "quiet", onclick: f}, "Reset").
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {import("./types.js").Attributes<HTMLElementTagNameMap[K]>} [attributes] `on...` are listeners, false and null are
 *   left out; of `aria-...`, where the word "false" says something, only null
 * @param {...import("./types.js").Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * The same for SVG.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {import("./types.js").Attributes<SVGElementTagNameMap[K]>} [attributes]
 * @param {...import("./types.js").Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * Set several attributes; what has its value already is left alone, since even that would be drawn again.
 * @template {Element} E
 * @param {E} element
 * @param {Record<string, string|number|boolean>} attributes
 * @returns {E}
 */
export function set(element, attributes) {
  for (const name in attributes) {
    const value = String(attributes[name]);
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
  return element;
}

/** Set an element's text, if it is another. @param {Node} element @param {string} text */
export function tell(element, text) {
  const only = element.firstChild;
  if (!(only instanceof Text) || element.childNodes.length > 1) element.textContent = text;
  else if (only.data !== text) only.data = text; // its box stays
}

/** An inline icon from the path data of a 24 x 24 drawing. @param {string} path */
export function icon(path) {
  return s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, s("path", { d: path }));
}

/**
 * Run `draw` once in the next frame, however often it is asked for.
 * @param {() => void} draw
 * @returns {(() => void) & {cancel: () => void, now: () => void}} `now` does not wait for that frame
 */
export function coalesced(draw) {
  let asked = 0;
  const run = () => {
    asked = 0;
    draw();
  };
  const request = () => {
    if (!asked) asked = requestAnimationFrame(run);
  };
  const cancel = () => {
    cancelAnimationFrame(asked);
    asked = 0;
  };
  return Object.assign(request, { cancel, now: () => (cancel(), run()) });
}

/**
 * Draw in parts, as many in a frame as fit in it beside what a hand does; a round that has begun ends with what it began with.
 * @template T
 * @param {((given: T) => void)[]} parts
 * @param {number} [share] ms of a frame
 * @returns {((given: T) => void) & {cancel: () => void, now: (given: T) => void}} `now` draws all parts at once
 */
export function inTurns(parts, share = 4) {
  /** @type {?{given: T}} */
  let next = null;
  /** @type {?{given: T}} */
  let now = null;
  let done = 0;
  const go = coalesced(() => {
    const until = performance.now() + share;
    if (!now) [now, next, done] = [next, null, 0];
    while (done < parts.length) {
      parts[done++](now.given);
      if (performance.now() >= until) break;
    }
    if (done === parts.length) now = null;
    if (now || next) go();
  });
  const ask = (/** @type {T} */ given) => {
    next = { given };
    go();
  };
  const cancel = () => {
    go.cancel();
    now = next = null;
  };
  const atOnce = (/** @type {T} */ given) => (cancel(), parts.forEach((part) => part(given)));
  return Object.assign(ask, { cancel, now: atOnce });
}

/**
 * Run `f` with the newest arguments a little later: for what may follow a hand at ten times a second.
 * @template {any[]} A
 * @param {(...given: A) => void} f
 * @param {number} [pause] ms
 * @returns {((...given: A) => void) & {stop: () => void}}
 */
export function trailing(f, pause = 90) {
  let timer = 0;
  let newest = /** @type {A} */ ([]);
  const ask = (/** @type {A} */ ...given) => {
    newest = given;
    timer ||= setTimeout(() => {
      timer = 0;
      f(...newest);
    }, pause);
  };
  return Object.assign(ask, { stop: () => clearTimeout(timer) });
}

/** Save bytes or text as a file. @param {string} name @param {BlobPart} content @param {string} type */
export function download(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link); // Firefox follows only links of the document
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
