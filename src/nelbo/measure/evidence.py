"""Log p(x): the method is chosen here."""

from typing import Literal, get_args

from torch import Tensor

from nelbo.evaluation import evaluation_mode
from nelbo.measure.annealing import CHAINS, TEMPERATURES, by_annealing
from nelbo.measure.estimate import Evidence
from nelbo.measure.importance import by_importance, refuse_points
from nelbo.measure.inputs import checked, is_point, latent_dimensions
from nelbo.measure.quadrature import MOST_DIMENSIONS, TOLERANCE, by_quadrature
from nelbo.vae import Model

Method = Literal["auto", "quadrature", "importance", "annealed"]


def log_evidence(
    vae: Model,
    x: Tensor,
    *,
    method: Method = "auto",
    samples: int | None = None,
    target_standard_error: float | None = None,
    temperatures: int = TEMPERATURES,
    chains: int = CHAINS,
    start: Literal["auto", "posterior", "prior"] = "auto",
    tolerance: float = TOLERANCE,
    seed: int = 0,
    progress: bool = True,
) -> Evidence:
    """Log p(x) = log of the integral of p(z) p(x|z) dz, for each example, in nats, with its error.

    >>> import torch, nelbo
    >>> _ = torch.manual_seed(0)
    >>> encoder, decoder = nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> found = nelbo.measure.log_evidence(vae, torch.ones(3, 6))
    >>> found.value.shape, found.method, bool((found.standard_error < 1e-3).all())
    (torch.Size([3]), 'quadrature', True)

    Args:
        vae: a VAE, an autoencoder, or anything with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event).
        method: how.

            - ``"quadrature"``: the integral itself on a grid, refined around each posterior; one or two latent
              dimensions. Its error is what doubling the grid changes.
            - ``"importance"``: the importance-weighted bound with many draws from q(z|x): fast, and on average too
              low where q(z|x) does not cover p(z|x), which Pareto k tells (Burda et al. 2016, eq. 8).
            - ``"annealed"``: annealed importance sampling with Hamiltonian Monte Carlo: slow, and nearly exact also
              where the encoder is bad (Wu et al. 2017).
            - ``"auto"``: quadrature for one or two latent dimensions, else importance sampling; annealing for an
              autoencoder, which has no q(z|x) to draw from.
        samples: draws of z for each example, of importance sampling; 1,000 if None.
        target_standard_error: instead of ``samples``: draw until it is reached for every example.
        temperatures: steps of annealing.
        chains: of annealing, for each example.
        start: where annealing starts; "auto" is q(z|x), and the prior for an autoencoder. From a q(z|x) far from
            p(z|x) the value can be nats too low without a warning: of the two starts, the larger value is the better.
        tolerance: of quadrature, in nats: the grid is refined until doubling it changes less.
        seed: of the draws; torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        Evidence, an Estimate of shape (batch,) whose ``why`` says which method and why, whose ``notes`` hold warnings
        in words, and with ``ess`` and ``pareto_k``, ``acceptance``, or ``change``, by the method.

    Raises:
        ValueError: x is empty, does not fit the model or lies outside the likelihood's support, the decoder gives NaN,
            there are too many latent dimensions for quadrature, or too few samples.
        Interrupted: Ctrl-C; its ``partial`` holds the examples that were done.

    Source: importance: Burda, Grosse & Salakhutdinov 2016; Pareto k: Vehtari et al. 2024; annealed: Neal 2001, Wu et
    al. 2017.
    """
    if method not in get_args(Method):
        raise ValueError(f"method is one of {', '.join(map(repr, get_args(Method)))}; got {method!r}")
    if target_standard_error is not None and not target_standard_error > 0:
        raise ValueError(f"target_standard_error is a number of nats greater than 0, got {target_standard_error}")
    with evaluation_mode(vae, seed):
        x = checked(vae, x)
        point = is_point(vae.posterior(x[:1]))
        chosen, why = _choice(method, latent_dimensions(vae), point=point)
        if chosen == "quadrature":
            return by_quadrature(vae, x, tolerance=tolerance, why=why, progress=progress)
        if chosen == "annealed":
            return by_annealing(
                vae,
                x,
                temperatures=temperatures,
                chains=chains,
                start=("prior" if point else "posterior") if start == "auto" else start,
                why=why,
                progress=progress,
            )
        refuse_points(vae.posterior(x[:1]))
        return by_importance(
            vae, x, samples=samples, target_standard_error=target_standard_error, why=why, progress=progress
        )


def _choice(method: Method, latent: int, *, point: bool) -> tuple[Method, str]:
    dimensions = f"{latent} latent dimension{'s' if latent > 1 else ''}"
    if method != "auto":
        return method, f"The method {method} was asked for."
    if latent <= MOST_DIMENSIONS:
        return "quadrature", f"Quadrature, because {dimensions} can be integrated over exactly."
    if point:
        return "annealed", (
            f"Annealing from the prior, because {dimensions} are too many for a grid and the q(z|x) of an autoencoder "
            "is a point, from which importance sampling cannot draw."
        )
    return "importance", (
        f"Importance sampling from q(z|x), because {dimensions} are too many for a grid; Pareto k tells where it "
        "cannot be relied on."
    )
