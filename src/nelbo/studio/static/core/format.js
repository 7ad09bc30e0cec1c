// Numbers as people read them.

export const BITS = 1 / Math.LN2;

/** Four significant digits, a minus sign that is one, powers of ten for the extremes. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size >= 1e6 || size < 1e-4) {
    const [mantissa, power] = value.toExponential(Math.max(0, digits - 2)).split("e");
    text = `${mantissa}·10${superscript(Number(power))}`;
  } else {
    const decimals = Math.max(0, Math.min(8, digits - 1 - Math.floor(Math.log10(size))));
    text = value.toFixed(decimals);
  }
  return text.replace(/^-/, "−");
}

function superscript(power) {
  return [...String(power)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
}

/** A tick's number: no more digits than it has. */
export function tick(value) {
  const size = Math.abs(value);
  return size && (size >= 1e5 || size < 1e-3) ? number(value, 2) : String(value).replace("-", "−");
}

/** A number of nats in the unit the reader chose. */
export function nats(value, unit, digits = 4) {
  return number(unit === "bits" ? value * BITS : value, digits);
}

/** For Python source: short, and exactly the number that is shown. */
export function literal(value) {
  if (value === Infinity) return "math.inf";
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/** The value on a grid of steps, without the noise of binary fractions. */
export function rounded(value, step) {
  return Number((Math.round(value / step) * step).toPrecision(12));
}

/** Ticks at 1, 2 or 5 times a power of ten. */
export function ticks(low, high, count = 6) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [];
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => span / s <= count) ?? 10 * power;
  const result = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * span; i++)
    result.push(Number((i * step).toPrecision(12)));
  return result;
}
