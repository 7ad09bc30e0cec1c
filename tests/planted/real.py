"""Healthy models of real data, trained with nelbo: images, tables and counts, short and long trainings.

Nothing is wrong with any of them, but that some were stopped early. python -m tests.planted.real prints how many got
which severities (-v: all of it; --docs: into docs/diagnosis.md).
"""

import functools
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn import datasets

import nelbo
from nelbo.report import Findings
from tests.planted import pages


class Real(NamedTuple):
    """A model of real data, and the epochs it is trained for."""

    name: str
    data: Callable[[], nelbo.data.Data]
    recipe: Callable[..., nelbo.Model]
    epochs: int
    arguments: dict[str, Any]


@functools.cache
def named(name, **settings):
    return nelbo.data.load(name, limit=1500, **settings)


@functools.cache
def patches(height, width, *, flat):
    """1,500 gray patches of two photographs, with the noise of their 256 levels inside each level."""
    rng = np.random.default_rng(0)
    photographs = [datasets.load_sample_image(name).mean(2) for name in ("china.jpg", "flower.jpg")]
    cuts = []
    for i in range(1500):
        gray = photographs[i % 2]
        top, left = rng.integers(gray.shape[0] - height), rng.integers(gray.shape[1] - width)
        cuts.append(gray[top : top + height, left : left + width])
    x = torch.tensor((np.stack(cuts) + rng.uniform(size=(1500, height, width))) / 256, dtype=torch.float32)
    return nelbo.data.load(x.flatten(1) if flat else x[:, None])


@functools.cache
def table(name):
    """A table of scikit-learn's, standardized."""
    x = getattr(datasets, f"load_{name}")().data
    # columns in steps are no density: a little noise inside the steps, as in NICE
    x = x + 0.02 * x.std(0) * np.random.default_rng(0).normal(size=x.shape)
    return nelbo.data.load(torch.tensor(x, dtype=torch.float32), standardize=True)


@functools.cache
def ink():
    """The digits as they are counted: of 16 pixels, how many are black."""
    return nelbo.data.load(torch.tensor(datasets.load_digits().data, dtype=torch.float32), scale=None)


@functools.cache
def letters():
    """How often each letter stands in twelve words of scikit-learn's descriptions of its data sets."""
    texts = [
        getattr(datasets, f"load_{n}")().DESCR
        for n in ("iris", "wine", "diabetes", "breast_cancer", "digits", "linnerud")
    ]
    words = " ".join(texts).lower().split()
    blocks = [" ".join(words[i : i + 12]) for i in range(0, len(words) - 12, 3)]
    x = [[block.count(letter) for letter in "abcdefghilmnoprstuvw"] for block in blocks]
    return nelbo.data.load(torch.tensor(x, dtype=torch.float32), scale=None)


def static():
    return named("digits", binarize="static")


def thresholded():
    return named("mnist5k", binarize="threshold")


def mnist():
    return named("mnist5k", binarize="static")


def gray():
    return named("mnist5k", dequantize=True)


def gray_digits():
    return named("digits", dequantize=True)


def textures():
    return patches(20, 28, flat=True)


def small_textures():
    return patches(8, 8, flat=False)


vae, beta, bits, vamp, sigma = (
    nelbo.recipes.vae, nelbo.recipes.beta_vae, nelbo.recipes.free_bits_vae, nelbo.recipes.vamp_vae,
    nelbo.recipes.sigma_vae,
)  # fmt: skip
NORMAL = {"likelihood": "normal", "latent": 6, "hidden": (200,)}
# fmt: off
MODELS = [Real(*row) for row in (
    ("binary digits", static, vae, 60, {"latent": 4, "hidden": (64,)}),
    ("binary digits, 2 latents", static, vae, 60, {"latent": 2, "hidden": (64,)}),
    ("binary digits, 32 latents", static, vae, 60, {"latent": 32, "hidden": (64,)}),
    ("binary digits, short", static, vae, 10, {"latent": 4, "hidden": (64,)}),
    ("binary digits, very short", static, vae, 3, {"latent": 4, "hidden": (64,)}),
    ("binary digits, long", static, vae, 300, {"latent": 8, "hidden": (64,)}),
    ("binary digits, conv", static, vae, 40, {"latent": 8, "network": "conv", "channels": (16, 32), "hidden": (64,)}),
    ("binary digits, beta 4", static, beta, 60, {"latent": 8, "hidden": (64,), "beta": 4.0}),
    ("binary digits, free bits", static, bits, 60, {"latent": 8, "hidden": (64,), "floor": 0.1}),
    ("binary digits, VampPrior", static, vamp, 60, {"latent": 4, "hidden": (64,), "prior": "vamp:50"}),
    ("binary digits, mixture", static, vae, 60, {"latent": 4, "hidden": (64,), "prior": "mixture:10"}),
    ("gray digits, normal", gray_digits, vae, 60, NORMAL),
    ("gray digits, normal, long", gray_digits, vae, 300, NORMAL),
    ("gray digits, normal, short", gray_digits, vae, 10, NORMAL),
    ("gray digits, continuous Bernoulli", gray_digits, vae, 60,
     {"likelihood": "continuous_bernoulli", "latent": 8, "hidden": (64,)}),
    ("MNIST", mnist, vae, 30, {"latent": 10, "hidden": (200,)}),
    ("MNIST, long", mnist, vae, 100, {"latent": 10, "hidden": (200,)}),
    ("MNIST, thresholded", thresholded, vae, 30, {"latent": 10, "hidden": (200,)}),
    ("MNIST, short", mnist, vae, 5, {"latent": 10, "hidden": (200,)}),
    ("MNIST, 2 latents", mnist, vae, 30, {"latent": 2, "hidden": (200,)}),
    ("gray MNIST, normal", gray, vae, 30, NORMAL),
    ("gray MNIST, normal, long", gray, vae, 150, NORMAL),
    ("gray MNIST, normal, short", gray, vae, 5, NORMAL),
    ("textures, normal", textures, vae, 60, NORMAL),
    ("textures, normal, 150 epochs", textures, vae, 150, NORMAL),
    ("textures, normal, 400 epochs", textures, vae, 400, NORMAL),
    ("textures, normal, short", textures, vae, 10, NORMAL),
    ("small textures, sigma VAE", small_textures, sigma, 60, {"latent": 6, "hidden": (64,)}),
    ("small textures, conv", small_textures, vae, 30,
     {"likelihood": "normal", "latent": 6, "network": "conv", "channels": (16, 32), "hidden": (64,)}),
    ("breast cancer", lambda: table("breast_cancer"), vae, 200, {"likelihood": "normal", "latent": 5, "hidden": (64,)}),
    ("breast cancer, linear", lambda: table("breast_cancer"), nelbo.recipes.linear_vae, 200, {"latent": 5}),
    ("wine", lambda: table("wine"), vae, 200, {"likelihood": "normal", "latent": 3, "hidden": (32,)}),
    ("wine, short", lambda: table("wine"), vae, 20, {"likelihood": "normal", "latent": 3, "hidden": (32,)}),
    ("diabetes", lambda: table("diabetes"), vae, 200, {"likelihood": "normal", "latent": 3, "hidden": (32,)}),
    ("iris", lambda: table("iris"), vae, 300, {"likelihood": "normal", "latent": 2, "hidden": (32,)}),
    ("ink, negative binomial", ink, vae, 60, {"likelihood": "negative_binomial", "latent": 6, "hidden": (64,)}),
    ("ink, categorical", ink, vae, 60, {"likelihood": "categorical:17", "latent": 6, "hidden": (64,)}),
    ("ink, categorical, short", ink, vae, 10, {"likelihood": "categorical:17", "latent": 6, "hidden": (64,)}),
    ("letters, Poisson", letters, vae, 100, {"likelihood": "poisson", "latent": 4, "hidden": (64,)}),
    ("letters, negative binomial", letters, vae, 100,
     {"likelihood": "negative_binomial", "latent": 4, "hidden": (64,)}),
    ("letters, Poisson, short", letters, vae, 20, {"likelihood": "poisson", "latent": 4, "hidden": (64,)}),
)]
# fmt: on


def trained(real: Real) -> nelbo.Run:
    """The run of a model: its data, history and objective are known, as to a user of the shell."""
    data = real.data()
    with torch.random.fork_rng([]):
        model = real.recipe(data.event_shape, **real.arguments)
        return nelbo.fit(model, data, epochs=real.epochs, seed=0, threads=1, progress=False)


def summary(rows: dict[str, Findings]) -> str:
    """What is said of each model, with the counts above, as Markdown."""
    worst = Counter(findings[0].severity if findings else "nothing" for findings in rows.values())
    short = sum("short" in name for name in rows)
    severe = [name for name, findings in rows.items() if findings and findings[0].severity == "severe"]
    early = sum("short" in name for name in severe)
    said = ", ".join(f"{worst[severity]} {severity}" for severity in ("severe", "warning", "note", "nothing"))
    lines = [
        f"The worst that is said of {len(rows)} healthy models, {short} of which were stopped early: {said}. "
        f"Of the {len(severe)} with a severe finding {early} were stopped early.",
        "",
        "| finding | severe | warning | note |",
        "|---|---|---|---|",
    ]
    each = Counter((finding.id, finding.severity) for findings in rows.values() for finding in findings)
    for name in sorted({name for name, _ in each}):
        counts = " | ".join(str(each[name, severity] or "") for severity in ("severe", "warning", "note"))
        lines.append(f"| {name} | {counts} |")
    lines += ["", "| model | epochs | the diagnosis, in its order (s: severe, w: warning) |", "|---|---|---|"]
    epochs = {model.name: model.epochs for model in MODELS}
    for name, findings in rows.items():
        found = ", ".join(f"{f.id} ({f.severity[0]})" for f in findings if f.severity != "note") or "nothing wrong"
        lines.append(f"| {name} | {epochs[name]} | {found} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Print what is said of each, and how many got which severities; --docs writes it into docs/diagnosis.md."""
    names = [name for name in arguments if not name.startswith("-")]
    rows: dict[str, Findings] = {}
    for real in MODELS:
        if not names or real.name in names:
            rows[real.name] = nelbo.diagnose(trained(real))
            print(f"{real.name:36} {', '.join(f'{f.id} ({f.severity[0]})' for f in rows[real.name])}", flush=True)
            if "-v" in arguments:
                print(rows[real.name])
    print(summary(rows))
    if "--docs" in arguments:
        pages.put("healthy", summary(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
