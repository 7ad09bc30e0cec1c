// A cloud of points that keep their places in a plane: drawn in any view of it within a frame, and asked what lies where.
// A hundred thousand elements of SVG, or as many circles of a canvas, take far longer than a frame; here each point is a
// small stamp in the pixels of one picture. Points are kept by the cells of a grid, so that a view draws
// only what it holds, and what is near the pointer is found without a look at the rest.

import { h, s, set } from "../../core/dom.js";

/** @import { Figure, Range } from "../../core/types.js" */

const [ALPHA, COVERING] = [0.6, 0.8]; // of a point whose colour is mixed with others, and of one that covers them
const FAINT = 0.16; // of a point that a search did not find
const USUAL = 1500; // points in view that are drawn as RADIUS says; of more, each is smaller
const RADIUS = 2.2; // CSS pixels
const SHRINKS = 0.2; // power of the number of points
const MOST = 3.2; // CSS pixels
const LEAST = 0.5; // pixels of the picture
const PIXELS = 900_000; // that all points of a picture may cover
const MIXED = 120_000; // of them, as long as colours are mixed
const PHASES = 4; // places within a pixel, along each axis
const LEVELS = 8; // of how much of a pixel a stamp covers
const NOT = 0xff000000; // in place of a colour: a point that is not drawn
const FINEST = 256; // cells of the grid along an axis

/**
 * What the points look like.
 *
 * @typedef {Object} Inks
 * @property {Uint8Array} of the position in `palette` of each point
 * @property {number[][]} palette [r, g, b] each
 * @property {?Uint8Array} [found] 1 for the points that stand out; the others are faint
 *
 * @typedef {Object} View
 * @property {Range} x
 * @property {Range} y
 * @property {number} width in pixels of the picture
 * @property {number} height
 *
 * @typedef {ReturnType<typeof cloudOf>} Cloud
 */

/**
 * @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys those that are not finite are left out
 */
export function cloudOf(xs, ys) {
  const { side, low, cell, starts, order } = gridOf(xs, ys);
  const x = Float32Array.from(order, (row) => xs[row]);
  const y = Float32Array.from(order, (row) => ys[row]);
  const column = (v) => Math.min(side - 1, Math.max(0, Math.floor((v - low[0]) / cell[0])));
  const line = (v) => Math.min(side - 1, Math.max(0, Math.floor((v - low[1]) / cell[1])));
  /** @type {?Sheet} */
  let sheet = null;
  /** @type {?{view: View, inks: Inks, ratio: number}} */
  let drawn = null;

  /**
   * Call with the ends of each stretch of `order` whose cells touch a rectangle.
   * @param {ArrayLike<number>} across
   * @param {ArrayLike<number>} down
   * @param {(from: number, to: number) => void} take
   */
  function touching(across, down, take) {
    const [c0, c1] = [column(across[0]), column(across[1])];
    for (let l = line(down[0]), last = line(down[1]); l <= last; l++) {
      const [from, to] = [starts[l * side + c0], starts[l * side + c1 + 1]];
      if (to > from) take(from, to);
    }
  }

  /** Points of the cells that a view touches: about how many it shows. @param {Pick<View, "x"|"y">} view */
  function count(view) {
    let sum = 0;
    touching(view.x, view.y, (from, to) => (sum += to - from));
    return sum;
  }

  /** @type {?{inks: Inks, colours: ?Uint32Array[]}} */
  let inked = null;
  /** The colours of the points in their order: of those that are faint, if any are, and of the others. @param {Inks} inks */
  function coloursOf(inks) {
    if (inked?.inks === inks) return inked.colours;
    const { of, palette, found } = inks;
    const ink = Uint32Array.from(palette, ([r, g, b]) => r | (g << 8) | (b << 16));
    const those = (isFound) => {
      const colours = new Uint32Array(order.length);
      for (let k = 0; k < order.length; k++) {
        const row = order[k];
        colours[k] = !found || Boolean(found[row]) === isFound ? ink[of[row]] : NOT;
      }
      return colours;
    };
    inked = { inks, colours: [found ? those(false) : null, those(true)] };
    return inked.colours;
  }

  /** @param {View} view @param {Inks} inks @param {number} ratio pixels of the picture in one of the page */
  function isDrawn(view, inks, ratio) {
    if (!drawn || drawn.inks !== inks || drawn.ratio !== ratio) return false;
    const { x: ax, y: ay, width, height } = drawn.view;
    const same = ax[0] === view.x[0] && ax[1] === view.x[1] && ay[0] === view.y[0] && ay[1] === view.y[1];
    return same && width === view.width && height === view.height;
  }

  return {
    xs,
    ys,
    count,
    /**
     * Draw the points in a view. The sheet is the cloud's own: the next drawing writes onto it.
     * @param {View} view
     * @param {Inks} inks
     * @param {number} ratio
     * @returns {Sheet}
     */
    draw(view, inks, ratio) {
      if (isDrawn(view, inks, ratio)) return sheet;
      const { width, height } = view;
      if (sheet?.width !== width || sheet.height !== height) sheet = sheetOf(width, height);
      else sheet.words.fill(0);
      const radius = radiusOf(count(view), ratio);
      const ax = width / (view.x[1] - view.x[0]);
      const ay = height / (view.y[1] - view.y[0]);
      const room = radius + 2;
      /** @type {Range} */
      const across = [view.x[0] - room / ax, view.x[1] + room / ax];
      /** @type {Range} */
      const down = [view.y[0] - room / ay, view.y[1] + room / ay];
      const isMixed = count(view) * Math.PI * (radius + 0.5) ** 2 < MIXED;
      const [faint, full] = coloursOf(inks);
      const pass = (ink, alpha) => {
        const pen = isMixed ? penOf(radius, alpha, sheet.wide) : null;
        touching(across, down, (from, to) => {
          const points = { x, y, ink, from, to, left: view.x[0], top: view.y[1], ax, ay };
          if (pen) mixAll(sheet, pen, points);
          else coverAll(sheet, { radius, alpha }, points);
        });
      };
      if (faint) pass(faint, FAINT);
      pass(full, isMixed ? ALPHA : COVERING);
      drawn = { view: { ...view }, inks, ratio };
      return sheet;
    },
    /**
     * The point nearest to a place, where distances are in units of rx along x and of ry along y; null beyond 1.
     * @param {number} px
     * @param {number} py
     * @param {number} rx
     * @param {number} ry
     * @returns {?number} its row
     */
    near(px, py, rx, ry) {
      let best = null;
      let least = 1;
      touching([px - rx, px + rx], [py - ry, py + ry], (from, to) => {
        for (let k = from; k < to; k++) {
          const [dx, dy] = [(x[k] - px) / rx, (y[k] - py) / ry];
          const far = dx * dx + dy * dy;
          if (far < least) [best, least] = [order[k], far];
        }
      });
      return best;
    },
    /** The rows of the points in a view. @param {Pick<View, "x"|"y">} view @returns {number[]} */
    within(view) {
      const rows = [];
      touching(view.x, view.y, (from, to) => {
        for (let k = from; k < to; k++)
          if (x[k] >= view.x[0] && x[k] <= view.x[1] && y[k] >= view.y[0] && y[k] <= view.y[1]) rows.push(order[k]);
      });
      return rows;
    },
  };
}

/**
 * How large a point is drawn, in pixels of a picture: the smaller, the more there are.
 * @param {number} count points in view
 * @param {number} ratio pixels of the picture in one of the page
 */
export function radiusOf(count, ratio) {
  const wanted = ratio * Math.min(MOST, RADIUS * (USUAL / Math.max(1, count)) ** SHRINKS);
  const most = Math.sqrt(PIXELS / Math.max(1, count) / Math.PI) - 0.5; // what a frame has time for
  return Math.max(LEAST, Math.min(wanted, most));
}

/**
 * Points by the cells of a grid over them, in a mixed order within a cell so that no class hides the others.
 * @returns {{side: number, low: number[], cell: number[], starts: Uint32Array, order: Uint32Array}} `order`: rows, cell
 *   after cell; those of a cell lie between its entry in `starts` and the next
 */
function gridOf(xs, ys) {
  const n = xs.length;
  const side = Math.min(FINEST, Math.max(1, Math.ceil(Math.sqrt(n / 4))));
  const [low, high] = [
    [Infinity, Infinity],
    [-Infinity, -Infinity],
  ];
  const isHere = (i) => Number.isFinite(xs[i] + ys[i]);
  for (let i = 0; i < n; i++) {
    if (!isHere(i)) continue;
    low[0] = Math.min(low[0], xs[i]);
    low[1] = Math.min(low[1], ys[i]);
    high[0] = Math.max(high[0], xs[i]);
    high[1] = Math.max(high[1], ys[i]);
  }
  const cell = [0, 1].map((d) => (high[d] - low[d]) / side || 1);
  const along = (v, d) => Math.min(side - 1, Math.floor((v - low[d]) / cell[d]));
  const cells = new Int32Array(n);
  const starts = new Uint32Array(side * side + 1);
  for (let i = 0; i < n; i++) {
    cells[i] = isHere(i) ? along(ys[i], 1) * side + along(xs[i], 0) : -1;
    if (cells[i] >= 0) starts[cells[i] + 1]++;
  }
  for (let c = 0; c < side * side; c++) starts[c + 1] += starts[c];
  const next = starts.slice();
  const order = new Uint32Array(starts[side * side]);
  for (const i of mixed(n)) if (cells[i] >= 0) order[next[cells[i]]++] = i;
  return { side, low, cell, starts, order };
}

/** 0 to n - 1 in a mixed order, always the same one. */
export function mixed(n) {
  const gcd = (a, b) => (b ? gcd(b, a % b) : a);
  let step = Math.max(1, Math.round(n * 0.618));
  while (gcd(step, n) !== 1) step++;
  const order = new Uint32Array(n);
  for (let k = 1; k < n; k++) order[k] = (order[k - 1] + step) % n;
  return order;
}

/**
 * Which pixels around a point its stamp covers, and how much of each, for each place of the point within a pixel: pairs of
 * an offset in a picture of this width and a level from 0 to LEVELS - 1.
 */
function stampsOf(radius, width) {
  const reach = Math.ceil(radius + 0.5);
  const phases = Array.from({ length: PHASES }, (_, phase) => (phase + 0.5) / PHASES);
  const stamps = phases.map((fx) =>
    phases.map((fy) => {
      const parts = [];
      for (let dy = -reach; dy <= reach; dy++) {
        for (let dx = -reach; dx <= reach; dx++) {
          const cover = radius + 0.5 - Math.hypot(dx + 0.5 - fx, dy + 0.5 - fy);
          const level = Math.round(Math.min(1, Math.max(0, cover)) * LEVELS);
          if (level) parts.push(dy * width + dx, level - 1);
        }
      }
      return Int32Array.from(parts);
    }),
  );
  return { stamps, reach };
}

/**
 * What happens where a point of this alpha meets what is there, by the alpha of that (256 entries for each level): how far
 * the colour moves to that of the point, of 256, and the alpha of both together.
 */
function blendsOf(alpha) {
  const [moves, alphas] = [new Uint16Array(256 * LEVELS), new Uint8Array(256 * LEVELS)];
  for (let level = 0; level < LEVELS; level++) {
    const own = (alpha * (level + 1)) / LEVELS;
    for (let there = 0; there < 256; there++) {
      const both = own + (there / 255) * (1 - own);
      moves[256 * level + there] = Math.round((256 * own) / both);
      alphas[256 * level + there] = Math.round(255 * both);
    }
  }
  return { moves, alphas };
}

/**
 * @typedef {{x: Float32Array, y: Float32Array, ink: Uint32Array, from: number, to: number, left: number, top: number,
 *   ax: number, ay: number}} Points from one place to another, in data coordinates; `left`, `top`: of the sheet, `ax`, `ay`:
 *   pixels in one of them
 */

/**
 * Draw points as discs onto a sheet; the colours of those that overlap are mixed.
 * @param {Sheet} sheet
 * @param {Pen} pen
 * @param {Points} points
 */
function mixAll({ words, wide, margin, width, height }, pen, { x, y, ink, from, to, left, top, ax, ay }) {
  const { stamps, reach, moves, alphas } = pen;
  const [right, bottom] = [width + reach, height + reach];
  for (let i = from; i < to; i++) {
    const px = (x[i] - left) * ax;
    const py = (top - y[i]) * ay;
    const cx = Math.floor(px);
    const cy = Math.floor(py);
    if (cx < -reach || cy < -reach || cx >= right || cy >= bottom || ink[i] === NOT) continue;
    const parts = stamps[((px - cx) * PHASES) | 0][((py - cy) * PHASES) | 0];
    const middle = (cy + margin) * wide + cx + margin;
    const redBlue = ink[i] & 0xff00ff;
    const green = ink[i] & 0x00ff00;
    for (let k = 0; k < parts.length; k += 2) {
      const at = middle + parts[k];
      const there = words[at];
      const entry = (parts[k + 1] << 8) | (there >>> 24);
      const move = moves[entry];
      const rest = 256 - move;
      const two = ((Math.imul(redBlue, move) + Math.imul(there & 0xff00ff, rest)) >>> 8) & 0xff00ff;
      words[at] = two | (((green * move + (there & 0x00ff00) * rest) >>> 8) & 0x00ff00) | (alphas[entry] << 24);
    }
  }
}

/**
 * The same in a tenth of the time, for many points: small squares, of which the newer covers the older.
 * @param {Sheet} sheet
 * @param {{radius: number, alpha: number}} pen
 * @param {Points} points
 */
function coverAll({ words, wide, margin, width, height }, { radius, alpha }, points) {
  const { x, y, ink, from, to, left, top, ax, ay } = points;
  const side = Math.max(2, Math.round(1.8 * radius));
  const cut = side > 3 ? 1 : 0; // of its corners
  const opaque = Math.round(255 * alpha) << 24;
  const off = margin - side / 2 + 0.5;
  for (let i = from; i < to; i++) {
    const cx = Math.floor((x[i] - left) * ax + off);
    const cy = Math.floor((top - y[i]) * ay + off);
    if (cx < 0 || cy < 0 || cx > width + margin || cy > height + margin || ink[i] === NOT) continue;
    const colour = ink[i] | opaque;
    let at = cy * wide + cx;
    if (side === 2) {
      words[at] = colour;
      words[at + 1] = colour;
      words[at + wide] = colour;
      words[at + wide + 1] = colour;
      continue;
    }
    for (let line = 0; line < side; line++, at += wide) {
      const shorter = line === 0 || line === side - 1 ? cut : 0;
      for (let k = at + shorter, end = at + side - shorter; k < end; k++) words[k] = colour;
    }
  }
}

/**
 * What `mixAll` draws points of one size with.
 * @typedef {ReturnType<typeof penOf>} Pen
 * @param {number} radius in pixels of the sheet
 * @param {number} alpha
 * @param {number} wide
 */
const penOf = (radius, alpha, wide) => ({ ...stampsOf(radius, wide), ...blendsOf(alpha) });

/**
 * @typedef {{words: Uint32Array, wide: number, margin: number, width: number, height: number, image: ImageData}} Sheet
 * @param {number} width
 * @param {number} height
 * @returns {Sheet}
 */
function sheetOf(width, height) {
  const margin = 2 * Math.ceil(2 * MOST + 2);
  const wide = width + 2 * margin;
  const image = new ImageData(wide, height + 2 * margin);
  return { words: new Uint32Array(image.data.buffer), wide, margin, width, height, image };
}

/**
 * A canvas in a figure, below its marks, for a cloud of points.
 * @param {Figure} figure
 */
export function canvasIn(figure) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const place = s("foreignObject", { class: "cloud" });
  place.append(canvas);
  figure.behind.append(place);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return {
    context,
    /**
     * Draw what the figure shows of a cloud.
     * @param {Cloud} cloud
     * @param {Inks} inks
     * @returns {?{view: View, ratio: number}} of the picture; null where the figure has no size
     */
    draw(cloud, inks) {
      const ratio = Math.min(2, devicePixelRatio || 1);
      const [width, height] = [Math.round(figure.width * ratio), Math.round(figure.height * ratio)];
      if (!(width > 0 && height > 0)) return null;
      set(place, { x: figure.margin.left, y: figure.margin.top, width: figure.width, height: figure.height });
      if (canvas.width !== width || canvas.height !== height) {
        Object.assign(canvas, { width, height });
        canvas.style.cssText = `display:block;width:${figure.width}px;height:${figure.height}px`;
      }
      const view = { x: figure.x, y: figure.y, width, height };
      const { image, margin } = cloud.draw(view, inks, ratio);
      context.putImageData(image, -margin, -margin, margin, margin, width, height);
      return { view, ratio };
    },
  };
}

/**
 * A canvas of the points in a view, at rest.
 * @param {Cloud} cloud
 * @param {{x: Range, y: Range, width: number, height: number}} view `width`, `height`: in CSS pixels
 * @param {Inks} inks
 */
export function pictureOf(cloud, view, inks) {
  const ratio = Math.min(2, globalThis.devicePixelRatio || 1);
  const [width, height] = [view.width, view.height].map((size) => Math.max(1, Math.round(size * ratio)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const { image, margin } = cloud.draw({ x: view.x, y: view.y, width, height }, inks, ratio);
  canvas.getContext("2d").putImageData(image, -margin, -margin, margin, margin, width, height);
  return canvas;
}
