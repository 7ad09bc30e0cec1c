"""Sampled log p(x) against quadrature, on the demo's VAE of two latent dimensions: who is off and does not say so?

Claim: of the examples that the mixture does not flag, less than 1 % are more than 4 standard errors from quadrature,
at no more than twice the processor time of as many draws from q(z|x) alone.
"""

import time
import warnings

import nelbo
from benchmarks.results import Row, options, show
from nelbo import demo

DRAWS, IMAGES, GOAL, GOAL_TIME = 1000, 200, 0.01, 2.0


def measure(images: int | None = None) -> list[Row]:
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
            found = nelbo.measure.log_evidence(vae, x, method=method, samples=DRAWS, progress=False)
        times[method] = time.process_time() - start
        error = (found.standard_error.square() + exact.standard_error.square()).sqrt()
        off = (found.value - exact.value).abs() > 4 * error
        unnoticed = float((off & ~found.flagged).double().mean())
        details = {"off": float(off.double().mean()), "flagged": float(found.flagged.double().mean())}
        goal = GOAL if method == "mixture" else None
        rows.append(Row("off by 4 standard errors, not flagged", method, unnoticed, "share", None, goal, details))
    ratio = times["mixture"] / times["importance"]
    rows.append(Row("processor time, mixture / q(z|x) alone", "nelbo", ratio, "", None, GOAL_TIME, times))
    return rows


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    show(measure(chosen.images), as_json=chosen.json)
