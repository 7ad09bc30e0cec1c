"""Sampled log p(x) against quadrature, on the demo's VAE of two latent dimensions: who is off and does not say so?

Claim: of the examples that the mixture does not flag, less than 1 % are more than 4 standard errors from quadrature,
at no more than twice the processor time of as many draws from q(z|x) alone.
"""

import time
import warnings

import nelbo
from benchmarks.results import Row, options, show
from nelbo import demo
from nelbo.estimate import Estimate

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
        masks = {"unnoticed": off & ~found.flagged, "off": off, "flagged": found.flagged}
        shares = {name: Estimate.mean_of(which.double(), unit="share") for name, which in masks.items()}
        said = ", ".join(f"{name} {share.text}" for name, share in shares.items() if name != "unnoticed")
        unnoticed, goal = shares.pop("unnoticed"), GOAL if method == "mixture" else None
        details = {name: [float(share), share.error] for name, share in shares.items()}
        name = f"{method}: {said}"
        rows.append(
            Row(
                f"off by 4 standard errors, not flagged, on {len(x):,} images by {draws:,} draws",
                name,
                float(unnoticed),
                "share",
                None,
                goal,
                {**details, "standard_error": unnoticed.error},
            )
        )
    ratio = times["mixture"] / times["importance"]
    rows.append(Row("processor time, mixture / q(z|x) alone", "nelbo", ratio, "", None, GOAL_TIME, times))
    return rows


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of z for each image")
    chosen = parser.parse_args()
    show(measure(chosen.images, chosen.draws), as_json=chosen.json)
