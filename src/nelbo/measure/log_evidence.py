"""Log p(x) by the method that suits the model."""

from dataclasses import replace
from typing import Any, Literal, get_args

from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, within_memory
from nelbo.measure.annealing import CHAINS, TEMPERATURES, Start, by_annealing
from nelbo.measure.enumeration import by_enumeration, check_enumeration
from nelbo.measure.evidence import Evidence
from nelbo.measure.importance import by_importance
from nelbo.measure.mixture import by_mixture
from nelbo.measure.quadrature import MOST_DIMENSIONS, TOLERANCE, by_quadrature
from nelbo.measure.rounding import with_rounding
from nelbo.registry import check_choice
from nelbo.training import Interrupted

Method = Literal["auto", "quadrature", "mixture", "importance", "annealed", "enumeration"]


@within_memory
def log_evidence(
    model: Any,
    x: Any,
    *,
    method: Method = "auto",
    samples: int | None = None,
    target_standard_error: float | None = None,
    temperatures: int = TEMPERATURES,
    chains: int = CHAINS,
    start: Literal["auto"] | Start = "auto",
    tolerance: float = TOLERANCE,
    seed: int = 0,
    progress: bool = True,
) -> Evidence:
    """Log p(x) = log of the integral of p(z) p(x|z) dz, for each example, in nats, with its error.

    >>> import torch, nelbo
    >>> _ = torch.manual_seed(0)
    >>> encoder, decoder = nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> evidence = nelbo.measure.log_evidence(vae, torch.ones(3, 6))
    >>> evidence.value.shape, evidence.method, bool((evidence.standard_error < 1e-3).all())
    (torch.Size([3]), 'quadrature', True)

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event): a tensor, an array, a Batch or a Dataset; or an Evaluation of the model.
        method: one of

            - ``"quadrature"``: the integral itself on a grid, refined around each posterior; one or two latent
              dimensions. Its error is what doubling the grid changes.
            - ``"mixture"``: importance sampling from q(z|x), the prior and normals fitted to p(z|x) from several
              starts: as fast as importance sampling from q(z|x), and right also where q(z|x) misses p(z|x) or one of
              its modes (Owen & Zhou 2000).
            - ``"importance"``: the importance-weighted bound with many draws from q(z|x), as papers report it: on
              average too low where q(z|x) does not cover p(z|x), which Pareto k tells if q(z|x) meets p(z|x) at all
              (Burda et al. 2016, eq. 8).
            - ``"annealed"``: annealed importance sampling with Hamiltonian Monte Carlo: slow, and nearly exact also
              where the encoder is bad (Wu et al. 2017).
            - ``"enumeration"``: the sum over all combinations of discrete codes, of which there may be 65,536; exact.
            - ``"auto"``: enumeration for discrete codes, quadrature for one or two latent dimensions, else the
              mixture; annealing for an autoencoder, which has no q(z|x) to draw from.
        samples: draws of z for each example, of importance sampling; 1,000 if None. For the mixture it is also what the
            search for p(z|x) is measured by: it takes the slope of log p(x, z) at most a third as often.
        target_standard_error: instead of ``samples``: draw until it is reached for every example.
        temperatures: steps of annealing.
        chains: of annealing, for each example; half of them from each start.
        start: the distribution that annealing starts from: "posterior" (q(z|x)) or "prior". "auto" is half of the
            chains from each (for an autoencoder, all from the prior): where the two values differ by more than 3
            standard errors, the larger one stands and the example is flagged.
        tolerance: of quadrature, in nats: the grid is refined until doubling it changes less.
        seed: of the draws, each a function of seed, example and number of the draw, so that the value of an example
            does not depend on the others (of annealing in float32 it may, by some 0.02 nats: rounding decides whether
            a move is accepted); torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        Evidence, an Estimate of shape (batch,) whose ``why`` says which method and why, whose ``flagged`` marks the
        examples whose standard error cannot be relied on, whose ``notes`` hold warnings in words, and with ``ess`` and
        ``pareto_k``, ``acceptance``, or ``change``, by the method; of the mixture, ``components`` says what q(z|x), the
        prior and the fits find by themselves, and ``q_misses`` where q(z|x) misses a part of p(z|x).

    Raises:
        ValueError: x is empty, does not fit the model or lies outside the likelihood's support, the decoder gives NaN,
            there are too many latent dimensions for quadrature or codes for enumeration, or too few samples.
        Interrupted: Ctrl-C; its ``partial`` holds the examples that were done.

    Source: importance: Burda, Grosse & Salakhutdinov 2016; Pareto k: Vehtari et al. 2024; annealed: Neal 2001, Wu et
    al. 2017.
    """
    check_choice("method", method, get_args(Method))
    if target_standard_error is not None and not target_standard_error > 0:
        raise ValueError(f"target_standard_error must be a number of nats > 0, got {target_standard_error}")
    evaluation = evaluate(model, x, seed=seed)
    codes = evaluation.model.codes
    if codes is not None or method == "enumeration":
        method, why = "enumeration", check_enumeration(codes, method)
    else:
        method, why = _choice(method, evaluation.latent, point=evaluation.is_point)
    try:
        with evaluation_mode(evaluation.model):
            if method == "enumeration":
                found = by_enumeration(evaluation, why=why)
            elif method == "quadrature":
                found = by_quadrature(evaluation, tolerance=tolerance, why=why, progress=progress)
            elif method == "annealed":
                starts = _starts(start, point=evaluation.is_point)
                found = by_annealing(
                    evaluation,
                    temperatures=temperatures,
                    chains=chains,
                    starts=starts,
                    why=f"{why} {_ONE_START[starts[0]]}" if len(starts) == 1 else why,
                    progress=progress,
                )
            else:
                draw = by_mixture if method == "mixture" else by_importance
                found = draw(
                    evaluation, samples=samples, target_standard_error=target_standard_error, why=why, progress=progress
                )
    except Interrupted as stop:
        stop.partial = _rounded(stop.partial, evaluation)
        raise
    return _rounded(found, evaluation)


def _rounded(found: Evidence, evaluation: Evaluation) -> Evidence:
    """The evidence whose errors, also those of components, hold the rounding."""
    components = {name: with_rounding(part, evaluation) for name, part in found.components.items()}
    return replace(with_rounding(found, evaluation), components=components)


_ONE_START: dict[Start, str] = {
    "posterior": "All chains start from q(z|x), and may all miss what it misses of p(z|x): the value is on average too "
    "low, and no other start tells by how much.",
    "prior": "All chains start from the prior: the value is on average too low, by less the more temperatures there "
    "are, and no other start tells by how much.",
}
"""What a value is worth whose chains have not been compared with those of another start."""


def _starts(start: Literal["auto"] | Start, *, point: bool) -> tuple[Start, ...]:
    if start != "auto":
        return (start,)
    return ("prior",) if point else ("posterior", "prior")


def _choice(method: Method, latent: int, *, point: bool) -> tuple[Method, str]:
    dimensions = f"{latent} latent dimension{'s' if latent > 1 else ''}"
    if method != "auto":
        return method, f"The method {method} was requested."
    if latent <= MOST_DIMENSIONS:
        return "quadrature", f"Quadrature, because {dimensions} can be integrated over exactly."
    if point:
        return "annealed", (
            f"Annealing from the prior, because {dimensions} are too many for a grid and the q(z|x) of an autoencoder "
            "is a point, from which importance sampling cannot draw."
        )
    return "mixture", (
        f"Importance sampling from a mixture of q(z|x), the prior and fits to p(z|x) from several starts, because "
        f"{dimensions} are too many for a grid; Pareto k tells where it cannot be relied on."
    )
