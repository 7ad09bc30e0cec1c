// MathML from a few words: browsers draw it without a library.

const tag =
  (name) =>
  (...inside) =>
    `<${name}>${inside.join("")}</${name}>`;
export const row = tag("mrow");
export const frac = tag("mfrac");
export const sup = tag("msup");
export const sub = tag("msub");
export const root = tag("msqrt");
export const o = (text) => `<mo>${text}</mo>`;
export const n = (text) => `<mn>${text}</mn>`;
export const word = (text) => `<mi mathvariant="normal">${text}</mi>`;

const gap = `<mspace width="0.17em"></mspace>`;

/** A function with a name, as in fn("log", x). */
export const fn = (name, ...of) => row(gap, word(name), o("&#x2061;"), gap, ...of);

/** A symbol; with a colour and, for what is drawn, the name of its mark. */
export function v(text, colour = "", mark = "") {
  return `<mi${colour ? ` class="${colour}"` : ""}${mark ? ` data-sym="${mark}"` : ""}>${text}</mi>`;
}

/** A symbol with an index: mu_p. */
export const indexed = (text, index, colour, mark = "") =>
  `<msub class="${colour}"${mark ? ` data-sym="${mark}"` : ""}><mi>${text}</mi><mi>${index}</mi></msub>`;

/** KL(a || b) */
export const KL = (a, b) => row(word("KL"), o("("), a, o("∥"), b, o(")"));

/** A formula on a line of its own. */
export const display = (...inside) => `<math display="block">${row(...inside)}</math>`;
export const inline = (...inside) => `<math>${row(...inside)}</math>`;
