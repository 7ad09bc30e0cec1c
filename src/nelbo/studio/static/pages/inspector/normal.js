// Normals: their KL to the prior, roots of their covariances, their outlines.

/** KL(N(mean, sd^2) || N(0, 1)) of one unit in its three parts, nats: place, width, and their sum. */
export function klParts(mean, sd) {
  const place = 0.5 * mean * mean;
  // expm1 keeps the digits that (sd^2 - 1) / 2 - log sd loses near sd = 1
  const log = Math.log(sd);
  const width = 0.5 * (Math.expm1(2 * log) - 2 * log);
  return { place, width, kl: place + width };
}

/** Lower triangular root of a covariance (Cholesky); directions without extent stay without. @param {number[][]} covariance */
export function root(covariance) {
  const l = covariance.map((row) => row.map(() => 0));
  covariance.forEach((row, r) => {
    for (let c = 0; c <= r; c++) {
      let rest = row[c];
      for (let k = 0; k < c; k++) rest -= l[r][k] * l[c][k];
      l[r][c] = r === c ? Math.sqrt(Math.max(rest, 0)) : l[c][c] > 0 ? rest / l[c][c] : 0;
    }
  });
  return l;
}

/**
 * The ellipse at k sigma of a normal in the plane, as path data.
 * @param {import("../../core/types.js").Figure} figure
 * @param {number[]} mean
 * @param {number[][]} l lower triangular root of the covariance
 */
export function ellipse(figure, mean, l, k) {
  let d = "";
  for (let i = 0; i <= 64; i++) {
    const [u, v] = [k * Math.cos((i * Math.PI) / 32), k * Math.sin((i * Math.PI) / 32)];
    const x = figure.sx(mean[0] + l[0][0] * u);
    const y = figure.sy(mean[1] + l[1][0] * u + l[1][1] * v);
    d += `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`;
  }
  return `${d}Z`;
}
