// What the KL explorer shows, as formulas whose symbols light up their marks.

import { display, fn, frac, indexed, inline, KL, n, o, row, sup, v } from "../../core/formula.js";

const p = v("p", "p", "p"),
  q = v("q", "q", "q");
const mp = indexed("µ", "p", "p", "mu_p"),
  mq = indexed("µ", "q", "q", "mu_q");
const sp = indexed("σ", "p", "p", "sigma_p"),
  sq = indexed("σ", "q", "q", "sigma_q");
const squared = (x) => sup(x, n(2));
const log = (x) => fn("log", x);
const sinh = (...x) => fn("sinh", ...x);

export const why = `
<p>The KL divergence is the mean number of nats by which p explains its own draws better than q does: the area under the
<span class="p-ink" data-sym="pq">solid integrand</span>.</p>
${display(KL(p, q), o("="), o("∫"), p, log(frac(p, q)), o("d"), v("x"))}
<p>For two normals it is</p>
${display(KL(p, q), o("="), log(frac(sq, sp)), o("+"), frac(row(squared(sp), o("+"), squared(row(o("("), mp, o("−"), mq, o(")")))), row(n(2), squared(sq))), o("−"), frac(n(1), n(2)))}
<p><b>Zero only if p = q.</b> −log is strictly convex, so Jensen's inequality puts the mean of −log q/p above −log of its mean, which is 0;
they are equal only where q/p is constant. The integrand may be negative (grey); the area is not.</p>
<p><b>Symmetric exactly when σp = σq.</b> With ${inline(v("t"), o("="), log(frac(sp, sq)))} and
${inline(squared(v("δ")), o("="), frac(squared(row(o("("), mp, o("−"), mq, o(")"))), row(sp, sq)))}, the difference of the two directions is</p>
${display(KL(p, q), o("−"), KL(q, p), o("="), row(o("("), sinh(n(2), v("t")), o("−"), n(2), v("t"), o(")")), o("+"), squared(v("δ")), sinh(v("t")))}
<p>Both terms have the sign of t, so they never cancel: the difference is 0 exactly at t = 0, whatever the means are. The larger direction is the
one that averages over the wider distribution.</p>
<p><b>Does it extend?</b> For two densities of one family of location and scale, symmetric about their places, equal widths are enough: the
reflection that trades the places trades p for q. For unequal widths it depends on the family: two Laplace distributions are never symmetric
then, two Cauchy distributions always are. For Student’s t the larger direction changes sides at ν = 1, Cauchy’s. Two exponential or two
Poisson distributions agree only if they are equal; two coins also if one is the other turned over.</p>
<p><b>Infinite</b> is KL(p‖q) where p has mass that q has not, and where p’s tail is too heavy: against a normal q the mean of x² has to exist
under p, against a Laplace q the mean of |x|.</p>
<p><b>Binning loses information.</b> Discretised, both KLs can only shrink (the data-processing inequality).</p>`;
