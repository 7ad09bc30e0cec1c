// Ends of axes that grow in steps, so that a figure does not tremble while what it shows moves.

const STEPS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];

/** The next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, ... @param {number} value */
export function scale(value) {
  if (!(value > 0) || !Number.isFinite(value)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * STEPS.find((step) => step * power >= value * (1 - 1e-9));
}
