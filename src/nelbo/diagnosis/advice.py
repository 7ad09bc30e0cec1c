"""Advice that fits the case: never what it has already."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from nelbo.diagnosis.case import Case
from nelbo.objectives import ELBO

_LASTING = (nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Mish, nn.Softplus, nn.Tanh)


class _Rule(NamedTuple):
    """A part of a line of advice that some cases have already."""

    part: str
    had: Callable[[Case], bool]
    instead: str


def _lasting(case: Case) -> bool:
    """Whether the activations of the networks are of those that never vanish."""
    layers = [module for network in case.networks for module in network.modules()]
    return any(isinstance(m, _LASTING) for m in layers) and not any(isinstance(m, nn.ReLU) for m in layers)


def _elbo(case: Case) -> bool:
    return isinstance(case.objective, ELBO)


def _learned(case: Case) -> bool:
    return not case.standard_normal_prior


def _falling(case: Case) -> bool:
    return case.settings.get("schedule") == "cosine"


def _stopped(case: Case) -> bool:
    return bool(case.settings.get("patience")) and bool(case.settings.get("weight_decay"))


def _slow(case: Case) -> bool:
    return float(case.settings.get("learning_rate", 1.0)) <= 3e-4


def _clipped(case: Case) -> bool:
    clip = case.settings.get("clip")
    return clip is not None and float(clip) <= 1.0


_TENTH = "nelbo.fit(vae, data, clip=..., learning_rate=...)  # a tenth of the present ones"
_RULES = (
    _Rule(
        "objective=nelbo.objectives.ELBO()",
        _elbo,
        "nelbo.resume(run.path, epochs=...)  # trained on the ELBO already, but not to its optimum",
    ),
    _Rule(
        "# train on the ELBO;",
        _elbo,
        "# trained on the ELBO already: in a decoder of your own, check that z reaches its first layer",
    ),
    _Rule(
        "prior=nelbo.priors.Mixture(latent)",
        _learned,
        "prior=nelbo.priors.Mixture(latent, components=...)  # the prior is learned already: more components",
    ),
    _Rule(
        'activation="gelu"',
        _lasting,
        "nelbo.fit(vae, data, learning_rate=...)  # a tenth of the present one; no activation here vanishes for good",
    ),
    _Rule("clip=1.0", _clipped, _TENTH),
    _Rule("learning_rate=3e-4", _slow, _TENTH),
    _Rule(
        'schedule="cosine"',
        _falling,
        "nelbo.fit(vae, data, learning_rate=...)  # a tenth of the present one",
    ),
    _Rule(
        "patience=10, weight_decay=1e-3",
        _stopped,
        "nelbo.recipes.vae(event, hidden=...)  # a smaller network, or more data",
    ),
)


def advised(change: str, case: Case) -> str:
    """Lines of advice for nelbo's own models, without those that the case has; if it has all, what to do instead."""
    kept: list[str] = []
    instead: list[str] = []
    for line in change.splitlines():
        rule = next((rule for rule in _RULES if rule.part in line and rule.had(case)), None)
        if rule is None:
            kept.append(line)
        else:
            instead.append(rule.instead)
    if not instead or any(line.partition("#")[0].strip() for line in kept):
        return "\n".join(kept)
    return "\n".join(dict.fromkeys(instead))
