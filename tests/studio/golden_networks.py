"""What networks in the page have to give: q(z|x), pictures and the terms of the loss, as nelbo computes them.

`python -m tests.studio.golden_networks` writes js/networks.json, which Node's tests read; test_golden.py holds it to be
current.
"""

import base64
import json
from pathlib import Path

import torch

from nelbo import VAE, Autoencoder, likelihoods, nn, posteriors
from nelbo.evaluation import decode, evaluate
from nelbo.studio.inspection import terms_of, terms_under
from nelbo.studio.networks import decoder_of, encoder_of, posterior_form

PATH = Path(__file__).parent / "js" / "networks.json"


def dense(event, latent, outputs, parameters, **options):
    return nn.MLP(event, outputs, **options), nn.MLP(latent, (event[0] * parameters, *event[1:]), **options)


def conv(event, latent, outputs, parameters, **options):
    decoder = nn.ConvDecoder(latent, (event[0] * parameters, *event[1:]), **options)
    return nn.ConvEncoder(event, outputs, **options), decoder


CASES = {
    "dense 8x8": (dense, (1, 8, 8), 2, likelihoods.Bernoulli(), posteriors.DiagonalNormal, {"hidden": (9,)}),
    "dense table": (
        dense,
        (6,),
        1,
        likelihoods.Normal(torch.tensor([0.5, 1.0, 2.0, 0.1, 0.7, 1.3])),
        posteriors.DiagonalNormal,
        {"hidden": (7, 5), "activation": "softplus"},
    ),
    "dense, full covariance": (
        dense,
        (1, 5, 3),
        3,
        likelihoods.Normal("decoded"),
        posteriors.FullCovarianceNormal,
        {"hidden": (11,), "activation": "gelu"},
    ),
    "conv 1x28x28": (
        conv,
        (1, 28, 28),
        2,
        likelihoods.Bernoulli(),
        posteriors.DiagonalNormal,
        {"channels": (3, 5), "hidden": 6},
    ),
    "conv 3x32x32": (
        conv,
        (3, 32, 32),
        3,
        likelihoods.ContinuousBernoulli(),
        posteriors.DiagonalNormal,
        {"channels": (2, 3, 4), "hidden": 5, "activation": "silu"},
    ),
    "conv 1x7x9, residual": (
        conv,
        (1, 7, 9),
        2,
        likelihoods.Normal(0.5),
        posteriors.FullCovarianceNormal,
        {"channels": (4, 6), "hidden": 5, "residual": 1, "activation": "elu"},
    ),
    "conv autoencoder": (conv, (1, 8, 8), 2, likelihoods.Bernoulli(), None, {"channels": (4,), "hidden": 6}),
    "counts, latent 12": (
        dense,
        (4,),
        12,
        likelihoods.Poisson(),
        posteriors.DiagonalNormal,
        {"hidden": (6,), "activation": "tanh"},
    ),
}


def made(name):
    """A model with random weights, and an input."""
    build, event, latent, likelihood, posterior, options = CASES[name]
    with torch.random.fork_rng([]):
        torch.manual_seed(list(CASES).index(name))
        qz = posterior and posterior(latent)
        outputs = qz.encoder_outputs if qz else latent
        encoder, decoder = build(event, latent, outputs, likelihood.parameters_per_feature, **options)
        model = (
            VAE(encoder, decoder, latent=latent, likelihood=likelihood, posterior=qz)
            if qz
            else Autoencoder(encoder, decoder, latent=latent, likelihood=likelihood)
        )
        with torch.no_grad():
            for parameter in model.parameters():  # also those that begin as 0
                parameter.add_(0.1 * torch.randn(parameter.shape))
        x = torch.rand(1, *event)
    if isinstance(likelihood, likelihoods.Bernoulli):
        x = (x > 0.6).float()
    if isinstance(likelihood, likelihoods.Poisson):
        x = (9 * x).round()
    return model.eval(), x


def base64_of(tensor):
    values = tensor.detach().flatten().float().numpy().astype("<f4")
    return base64.b64encode(values.tobytes()).decode()


def digits(tensor):
    """Eight of each number: float32 has seven."""
    return [float(f"{value:.8g}") for value in tensor.detach().double().flatten().tolist()]


def numbers(terms):
    """Values and standard errors; None where infinite."""
    pairs = {name: (float(each.value), float(each.standard_error)) for name, each in terms.items()}
    return {name: pair if abs(pair[0]) < torch.inf else None for name, pair in pairs.items()}


def vector(name):
    model, x = made(name)
    encoder, decoder = encoder_of(model, x.shape[1:]), decoder_of(model)
    one = evaluate(model, x)
    mean, covariance, _ = one.moments
    own_mean, a = torch.linspace(-1, 1, model.latent), torch.eye(model.latent)
    a[-1, 0] = 0.5
    own = 0.3 * (a @ a.T)
    return {
        "info": {
            "latent": model.latent,
            "picture": model.px_family.browser_form(),
            "posterior_form": posterior_form(model),
            "standard_normal_prior": True,
            "in_page": {"encoder": encoder is not None, "decoder": decoder is not None},
        },
        "encoder": {"steps": encoder.steps, "weights": [base64_of(w) for w in encoder.weights]},
        "decoder": {"steps": decoder.steps, "weights": [base64_of(w) for w in decoder.weights]},
        "x": base64_of(x),
        "mean": digits(mean),
        "covariance": digits(covariance),
        "decoded": digits(decode(model, mean)),
        "at_mean": float(one.error_at_embedding),
        "terms": numbers({name: each[0] for name, each in terms_of(one, 1024).items()}),
        "own": {
            "mean": digits(own_mean),
            "covariance": digits(own),
            "terms": numbers(terms_under(model, x, own_mean, own)),
        },
    }


def vectors():
    return {name: vector(name) for name in CASES}


if __name__ == "__main__":
    rows = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in vectors().items()]
    PATH.write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")
