"""Sampled log p(x) against quadrature, on the demo's VAE of two latent dimensions: who is off and does not say so?

Off are the images whose value differs from quadrature by more than 4 standard errors.

Claim: of the examples that the mixture does not flag, less than 1 % are more than 4 standard errors from quadrature,
at no more than twice the processor time of as many draws from q(z|x) alone.
"""

import math
import time
import warnings

import nelbo
from benchmarks.results import Row, options, show
from nelbo import demo

DRAWS, IMAGES, GOAL, GOAL_TIME = 1000, 200, 0.01, 2.0


def measure(images: int | None = None, draws: int = DRAWS) -> list[Row]:
    data = demo.load_data()
    vae = nelbo.recipes.make("vae", data.event_shape, latent=2, hidden=(400, 200))
    vae = nelbo.fit(vae, data, epochs=demo.EPOCHS, batch_size=100, seed=0, progress=False).model
    assert data.validation is not None
    x = data.validation.examples(images or IMAGES).x
    exact = nelbo.measure.log_evidence(vae, x, progress=False)
    rows: list[Row] = []
    times: dict[str, float] = {}
    for method in ("importance", "mixture"):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = nelbo.measure.log_evidence(vae, x, method=method, samples=draws, progress=False)
        times[method] = time.process_time() - start
        error = (found.standard_error.square() + exact.standard_error.square()).sqrt()
        off = (found.value - exact.value).abs() > 4 * error
        for name, which in (("off, not flagged", off & ~found.flagged), ("off", off), ("flagged", found.flagged)):
            goal = GOAL if (method, name) == ("mixture", "off, not flagged") else None
            details = {"standard_error": _error_of_share(int(which.sum()), len(x))}
            rows.append(Row(name, method, float(which.double().mean()), "share", None, goal, details))
    rows.sort(key=lambda row: row.benchmark, reverse=True)
    ratio = times["mixture"] / times["importance"]
    rows.append(Row("processor time, mixture / q(z|x) alone", "nelbo", ratio, "", None, GOAL_TIME, times))
    return rows


def _error_of_share(k: int, n: int) -> float:
    """The standard error of k of n, which is not 0 where k is (Agresti & Coull 1998)."""
    p = (k + 1) / (n + 2)
    return math.sqrt(p * (1 - p) / (n + 2))


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of z for each image")
    chosen = parser.parse_args()
    show(measure(chosen.images, chosen.draws), as_json=chosen.json)
