// Points at close range: pictures of the examples in view, or their names, in place of dots, as many as fit.

import { trailing } from "../../core/dom.js";
import { colour } from "../../core/theme.js";
import { pixels, isImage } from "./pixels.js";

/** @import { Source } from "../../core/types.js" */
/** @import { Cloud, Inks, View } from "./cloud.js" */

const FEW = 400; // points in view, of which some are pictures
const NAMED = 40; // points in view that have names, where an example is no picture
const [SMALL, LARGE] = [24, 40]; // sides of a picture in CSS pixels
const KEPT = 2000; // pictures
const AT_ONCE = 200; // asked for in one question
const BORDER = 2;

/**
 * @param {Source} source
 * @param {Cloud} cloud
 * @param {() => void} ready called when pictures came
 */
export function closeUps(source, cloud, ready) {
  const isPicture = isImage(source.info.event);
  /** @type {Map<number, HTMLCanvasElement>} */
  const known = new Map();
  const asked = new Set();
  let missing = false; // where they did not travel with the page
  let gone = false;
  /** @type {number[]} */
  let shown = []; // they stay as long as they fit, or they would change while the plane moves

  const fetchThem = trailing(async (rows) => {
    const wanted = rows.filter((row) => !known.has(row) && !asked.has(row)).slice(0, AT_ONCE);
    if (!wanted.length || missing) return;
    wanted.forEach((row) => asked.add(row));
    try {
      const inputs = await source.inputs(wanted);
      wanted.forEach((row, i) => known.set(row, pictureOf(inputs[i])));
    } catch {
      missing = true;
    }
    wanted.forEach((row) => asked.delete(row));
    for (const row of known.keys()) {
      if (known.size <= KEPT) break;
      if (!shown.includes(row)) known.delete(row);
    }
    if (!gone) ready();
  });

  function pictureOf(x) {
    const [channels, height, width] = source.info.event;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").putImageData(pixels(x, [channels, height, width], source.range), 0, 0);
    return canvas;
  }

  /** Of the points in view, those whose pictures have room. @param {View} view @param {Inks} inks @param {number[]} room in pixels */
  function chosen(view, inks, room) {
    const inView = cloud.within(view).filter((row) => !inks.found || inks.found[row]);
    const here = new Set(inView);
    const rows = [...shown.filter((row) => here.has(row)), ...inView.sort((a, b) => a - b)];
    const taken = [];
    const placed = [];
    for (const row of new Set(rows)) {
      const [x, y] = at(row, view);
      if (taken.some(([u, v]) => Math.abs(u - x) < room[0] && Math.abs(v - y) < room[1])) continue;
      taken.push([x, y]);
      placed.push({ row, x, y });
    }
    return placed;
  }

  const at = (row, { x, y, width, height }) => [
    ((cloud.xs[row] - x[0]) / (x[1] - x[0])) * width,
    ((y[1] - cloud.ys[row]) / (y[1] - y[0])) * height,
  ];

  return {
    /** @param {CanvasRenderingContext2D} context @param {View} view @param {Inks} inks @param {number} ratio */
    draw(context, view, inks, ratio) {
      const count = cloud.count(view);
      if (count > (isPicture ? FEW : NAMED)) {
        shown = [];
        return;
      }
      const side = ratio * Math.min(LARGE, Math.max(SMALL, LARGE - (LARGE - SMALL) * (count / FEW) * 2));
      const placed = chosen(view, inks, isPicture ? [side + 5 * ratio, side + 5 * ratio] : [92 * ratio, 16 * ratio]);
      shown = placed.map(({ row }) => row);
      if (isPicture) {
        fetchThem(shown);
        placed.forEach((one) => drawPicture(context, one, inks, side, ratio));
      } else {
        const [paper, ink] = ["--paper", "--ink"].map((name) => colour(context.canvas, name));
        placed.forEach((one) => drawName(context, one, ratio, paper, ink));
      }
    },
    remove() {
      gone = true;
      fetchThem.stop();
    },
  };

  function drawPicture(context, { row, x, y }, inks, side, ratio) {
    const picture = known.get(row);
    if (!picture) return;
    const scale = side / Math.max(picture.width, picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale].map(Math.round);
    const [left, top] = [Math.round(x - width / 2), Math.round(y - height / 2)];
    const edge = BORDER * ratio;
    context.fillStyle = `rgb(${inks.palette[inks.of[row]]})`;
    context.fillRect(left - edge, top - edge, width + 2 * edge, height + 2 * edge);
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(picture, left, top, width, height);
  }

  function drawName(context, { row, x, y }, ratio, paper, ink) {
    const name = source.className(row);
    const text = name === null ? `#${row}` : `${name} #${row}`;
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const isRight = x > context.canvas.width - 80 * ratio;
    context.textAlign = isRight ? "right" : "left";
    const left = x + (isRight ? -7 : 7) * ratio;
    context.lineWidth = 3 * ratio;
    context.lineJoin = "round";
    context.strokeStyle = paper;
    context.strokeText(text, left, y);
    context.fillStyle = ink;
    context.fillText(text, left, y);
  }
}
