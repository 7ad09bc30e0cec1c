"""log p(x) of MNIST images by importance sampling, beside pythae's get_nll on the same weights.

Claim: at the same number of draws nelbo takes at most a quarter of the time, and both give the same log p(x).
And quadrature over two latent dimensions takes less than ten seconds for the 10,000 test images.
"""

import sys
import time
import warnings
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

import nelbo
from benchmarks import mnist
from benchmarks.results import Row, options, show
from benchmarks.turns import wait_for_quiet

DRAWS, IMAGES, LATENT = 1000, 40, 20
GOAL, GOAL_SECONDS = 0.25, 10.0


def measure(path: Path, *, rounds: int, patience: float = 0.0, images: int | None = None) -> list[Row]:
    train, test = (binary(part) for part in (mnist.train(path)[:20_000], mnist.test(path)))
    vae = trained(train, LATENT)
    x = test[: images or IMAGES]
    ours, theirs = [], []
    peer = as_pythae(vae)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an encoder trained for three epochs Pareto k may warn; both sides share it
        nelbo.measure.log_evidence(vae, x[:2], method="importance", samples=DRAWS, progress=False)
        for _ in range(rounds):
            wait_for_quiet(patience)
            start = time.perf_counter()
            found = nelbo.measure.log_evidence(vae, x, method="importance", samples=DRAWS, progress=False)
            ours.append((time.perf_counter() - start) / len(x))
            if peer is not None:
                torch.manual_seed(0)
                start = time.perf_counter()
                with torch.no_grad():
                    get_nll = peer.get_nll(x, n_samples=DRAWS, batch_size=100)
                theirs.append((time.perf_counter() - start) / len(x))
    mean, error = float(found.value.mean()), float(found.standard_error.square().sum().sqrt()) / len(x)
    name = f"log p(x), {DRAWS:,} draws an image"
    rows = [Row(name, "nelbo", 1e3 * median(ours), "ms / image", details={"log_evidence": mean, "error": error})]
    if peer is not None:
        off = (float(get_nll) - mean) / (2**0.5 * error)
        print(f"log p(x): nelbo {mean:.3f}, pythae {get_nll:.3f}, {off:+.1f} standard errors apart", file=sys.stderr)
        ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
        details = {"log_evidence": float(get_nll), "standard_errors_apart": off}
        rows.append(Row(name, "pythae", 1e3 * median(theirs), "ms / image", ratio, GOAL, details))
    plane = trained(train, 2)
    wait_for_quiet(patience)
    start = time.perf_counter()
    exact = nelbo.measure.log_evidence(plane, test, progress=False)
    details = {"largest_change": float(exact.change.max()), "log_evidence": float(exact.value.mean())}
    quadrature = Row("log p(x), quadrature", "nelbo", time.perf_counter() - start, "s", None, GOAL_SECONDS, details)
    return [*rows, quadrature]


def binary(images) -> Tensor:
    return torch.from_numpy(images > 127).float()


def trained(x: Tensor, latent: int, *, device: str = "cpu") -> nelbo.VAE:
    torch.manual_seed(0)
    vae = nelbo.VAE(
        nelbo.nn.MLP(784, 2 * latent),
        nelbo.nn.MLP(latent, 784),
        latent=latent,
        likelihood=nelbo.likelihoods.Bernoulli(),
    )
    return nelbo.fit(vae, x, epochs=3, batch_size=128, device=device, progress=False).model


def as_pythae(vae: nelbo.VAE):
    """The same weights as a VAE of pythae, or None where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pythae.models import VAE, VAEConfig
            from pythae.models.base.base_utils import ModelOutput
            from pythae.models.nn import BaseDecoder, BaseEncoder
    except ImportError:
        print("pythae is not installed and is left out", file=sys.stderr)
        return None

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network: nn.Module = vae.encoder

        def forward(self, x: Tensor):
            qz = vae.qz_family(self.network(x))
            return ModelOutput(embedding=qz.mean, log_covariance=qz.variance.log())

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network: nn.Module = vae.decoder

        def forward(self, z: Tensor):
            return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))

    config = VAEConfig(input_dim=(784,), latent_dim=LATENT, reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(), decoder=Decoder()).eval()


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    rows = measure(mnist.find(chosen.mnist), rounds=chosen.rounds, patience=chosen.patience, images=chosen.images)
    show(rows, as_json=chosen.json)
