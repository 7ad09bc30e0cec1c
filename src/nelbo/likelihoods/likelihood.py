"""The family of p(x|z): its density, and everything else that is known about it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from nelbo.data import ValueSummary, summarize
from nelbo.likelihoods import statistics
from nelbo.likelihoods.statistics import Linear
from nelbo.registry import Registry
from nelbo.wording import advice


class Summed(Independent):
    """Independent variables whose log_prob takes fewer passes than torch's; expanded, they are torch's."""

    def expand(self, batch_shape: Any, _instance: Any = None) -> Independent:
        return Independent(self.base_dist, self.reinterpreted_batch_ndims, validate_args=False).expand(batch_shape)


class Suggestion(NamedTuple):
    """A likelihood for some values."""

    name: str
    """Name for recipes and the command line, with its number, as in ``categorical:10``."""
    line: str
    """Line of Python that constructs it."""
    summary: ValueSummary
    """The values that suggest it."""
    score: float = 0.5
    """The highest score of all registered families wins; the families of nelbo score 0.5."""


class Scale(NamedTuple):
    """One way to write the parameters of a likelihood, such as probabilities in place of logits."""

    to_parameters: Callable[[Tensor], Tensor]
    """From what a decoder returns to the parameters of the family."""
    from_parameters: Callable[[Tensor], Tensor]
    """The inverse."""
    holds: Callable[[Tensor], Tensor] | None = None
    """Elementwise test of whether a value is possible; None where all are."""
    domain: str = ""
    """The possible values, in words."""
    certain: bool = False
    """Whether values for which it holds can hardly be anything else, such as rows that sum to 1."""


def _same(t: Tensor) -> Tensor:
    return t


AS_PARAMETERS = Scale(_same, _same)
"""The parameters themselves."""

_MISSING = (
    "Where NaN means not observed, use a model that takes it: nelbo.recipes.missing_vae(event_shape), or, with "
    "networks of your own, nelbo.VAE(nelbo.nn.WithMask(encoder), decoder, ...), whose encoder gets x with 0 in place "
    "of NaN and a mask, as further features or channels"
)


class Likelihood(nn.Module, ABC):
    """A family of distributions p(x|z) over the data, whose parameters a decoder computes from z.

    The decoder gives ``parameters_per_feature`` numbers for each feature of x, stacked along the first axis of the
    event: ``(batch, parameters_per_feature * c, *rest)`` for data of shape ``(batch, c, *rest)``.

    A subclass needs ``support``, :meth:`forward` and :meth:`accepts`. Everything else has a default; a family that
    knows more overrides it, and what nelbo builds, starts, suggests, wraps, diagnoses and draws follows.
    """

    parameters_per_feature: int = 1
    support: str
    """The values that x may take, in words."""
    hint: str = ""
    """Sentence at the end of :meth:`check`'s error: how to use this family all the same."""
    filler: float | Tensor = 0.0
    """A value in the support, one for all features or (\\*event), evaluated in place of one that was not observed."""
    wider: str = ""
    """Line that constructs a family with more variance, proposed where the data are overdispersed under this one."""

    @abstractmethod
    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        """p(x|z) from the decoder's output.

        Args:
            parameters: (*batch, parameters_per_feature * c, *rest).
            event_dims: number of axes of one example, ``1 + len(rest)``.

        Returns:
            px with batch shape ``batch`` and event shape ``(c, *rest)``; ``px.log_prob(x)`` is in nats.
        """

    @abstractmethod
    def accepts(self, x: Tensor) -> bool:
        """Whether all values of x, which are finite, lie in the support."""

    def check(self, x: Tensor) -> None:
        """Raise a ValueError that names a likelihood that fits where x lies outside the support.

        Args:
            x: (batch, \\*event).
        """
        if not bool(torch.isfinite(x).all()):
            bad = x.numel() - int(torch.isfinite(x).sum())
            raise ValueError(
                f"x holds {bad} values that are NaN or infinite, out of {x.numel()}; "
                "drop or fill them first, for instance x = torch.nan_to_num(x)"
                + (f". {_MISSING}" if bool(x.isnan().any()) else "")
            )
        if x.numel() and not self.accepts(x):
            suggestion = fitting(x)
            kind = suggestion.summary.kind
            flag = f"--likelihood {suggestion.name}"
            if kind == "unit interval":
                flag += ", or --binarize dynamic with --likelihood bernoulli"
            raise ValueError(
                f"{type(self).__name__} needs {self.support}. Got x of shape {tuple(x.shape)}: "
                f"{suggestion.summary.sentence} What fits: {advice(suggestion.line, flag)}"
                + (", with standardize=True for the data" if kind == "real" else "")
                + (f". {self.hint}" if self.hint and self.hint_helps(x) else "")
            )

    def hint_helps(self, x: Tensor) -> bool:
        """Whether :attr:`hint` applies to data outside the support; True unless a family looks at them."""
        return True

    def point_estimate(self, px: Distribution) -> Tensor:
        """The x that stands for px in pictures and reconstructions: its mean."""
        return px.mean

    def averaged(self, px: Distribution) -> Tensor:
        """What is averaged over several p(x|z) for the x that stands for them: their means, (\\*batch, \\*event)."""
        return px.mean

    def from_average(self, average: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """The x that stands for a mixture of p(x|z), and its standard error, by an average of :meth:`averaged`."""
        return average, error

    def filler_like(self, x: Tensor) -> float | Tensor:
        """:attr:`filler` on the device and of the type of x."""
        return self.filler.to(x) if isinstance(self.filler, Tensor) else self.filler

    # features of several families

    def for_columns(self, families: Sequence["Likelihood"]) -> "Likelihood | None":
        """One family for features that have these families, this one first; None where it takes several.

        The default joins what has no parameters of its own and is the same but for its name.

        Args:
            families: of one feature each.
        """
        same = all(family.settings == self.settings for family in families)
        return self if same and not any(family.state_dict() for family in families) else None

    def for_encoder(self, families: Sequence["Likelihood"]) -> nn.Module | None:
        """:meth:`encoder_transform` of features that have these families, which :meth:`for_columns` has joined."""
        return self.encoder_transform((len(families),))

    @property
    def settings(self) -> tuple[Any, ...]:
        """The class, its plain attributes, and the shapes of its tensors: equal for two of the same family."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, str | float | tuple | int)}
        return type(self), plain | {"training": None}, {name: t.shape for name, t in self.state_dict().items()}

    # building and training a model

    @classmethod
    def suggested_by(cls, summary: ValueSummary) -> Suggestion | None:
        """Suggest this family for such values, for :func:`fitting`; None where it does not fit them best."""
        return None

    def decoder_event(self, event: Sequence[int]) -> tuple[int, ...]:
        """The shape that a decoder gives for one example of shape ``event``."""
        return (self.parameters_per_feature * event[0], *event[1:])

    def encoder_transform(self, event: Sequence[int]) -> nn.Module | None:
        """A first layer for encoders of examples of shape ``event``, such as log(1 + x) for counts; None for none."""
        return None

    def for_distances(self, event: Sequence[int]) -> nn.Module | None:
        """A layer on the CPU to numbers whose distances mean something, where the values of x are of several kinds."""
        return None

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float] | None] | None:
        """Random inputs for a VampPrior to start from, (n, \\*event), and the bounds to keep them in.

        The default is standard normal and unbounded. None where a gradient cannot move the values of x.
        """
        return torch.randn(n, *event), None

    def at_mean(self, x: Tensor) -> Tensor | None:
        """The decoder's output at which p(x|z) has the mean (and spread) of x: where a decoder does well to start.

        Args:
            x: (n, \\*event), examples.

        Returns:
            ``decoder_event(event)`` numbers; None for a family that does not say, whose decoder starts where it is.
        """
        return None

    def optimum(self, px: Distribution, x: Tensor, weights: Tensor | None = None) -> Tensor | None:
        """What these examples say of a parameter whose optimum is a mean over examples; None where there is none.

        Args:
            px: with batch shape (*samples, batch).
            x: (batch, \\*event).
            weights: (samples, batch), what each draw of z counts for; None is all alike.
        """
        return None

    def adapt(self, optimum: Tensor) -> None:
        """Follow the optima of one training step after the other."""

    def settle(self, optimum: Tensor) -> None:
        """Take the mean of the optima of all examples."""

    @property
    def adapted(self) -> bool:
        """Whether :meth:`adapt` has seen data, for a family that it sets parameters of."""
        return True

    # evaluating a model

    def linear(self, px: Distribution, x: Tensor, rows: Tensor | None = None) -> Linear | None:
        """p(x|z) as a linear function of statistics of x, or None where it is not one.

        Log p(x_i|z_j) = rows_i . coefficients_j + offset_j, which makes quadrature one matrix product. The default
        knows Bernoulli and normal distributions.

        Args:
            px: at the points, batch shape (points, 1).
            x: (batch, \\*event).
            rows: ``rows`` of an earlier call for the same x.
        """
        return statistics.linear(px, x, rows)

    @property
    def sigma(self) -> float | None:
        """The one standard deviation of a normal family; None for any other."""
        return None

    # reading other people's models

    @property
    def decodes_spread(self) -> bool:
        """Whether the second of two parameters is the logarithm of a standard deviation."""
        return False

    @property
    def readings(self) -> Mapping[str, Scale]:
        """Ways in which decoders write this family's parameters, by the name that ``nelbo.wrap(output=)`` takes.

        The first one is on the scale of x. Empty: decoders return the parameters, whose scale is the family's own.
        """
        return {}

    def lookalikes(self) -> Sequence["Likelihood"]:
        """Other families with the same parameters, which a loss may mistake for this one."""
        return ()

    # the studio

    def browser_form(self) -> dict[str, Any] | None:
        """The formula by which a page gets the mean and log p(x|z) from the decoder's output, ready for JSON.

        ``{"family": name, **settings}`` with a name that ``network.js`` of the inspector knows. None: Python computes.
        """
        return None

    def split(self, parameters: Tensor, event_dims: int) -> tuple[Tensor, ...]:
        """The decoder's output as one tensor of the shape of x for each parameter of the family."""
        self.check_parameters(parameters, event_dims)
        return parameters.chunk(self.parameters_per_feature, dim=-event_dims)

    def check_parameters(self, parameters: Tensor, event_dims: int) -> None:
        """Raise a ValueError where the decoder's output does not divide into this family's parameters."""
        k = self.parameters_per_feature
        if parameters.shape[-event_dims] % k:
            raise ValueError(
                f"{type(self).__name__} takes {k} numbers per feature, so the decoder's first event axis must be a "
                f"multiple of {k}; got shape {tuple(parameters.shape)}. For data with c features (or channels) end "
                f"the decoder with {k} * c outputs"
            )


LIKELIHOODS: Registry[Likelihood] = Registry("likelihood", group="nelbo.likelihoods")


def check_likelihood(value: Any) -> None:
    """Raise a TypeError with the line to write where the value is not a likelihood: a name, a class, a distribution."""
    if isinstance(value, Likelihood):
        return
    line = (
        "likelihood=nelbo.likelihoods.Normal() for real values, or nelbo.likelihoods.Bernoulli() for values in {0, 1}"
    )
    if isinstance(value, type) and issubclass(value, Likelihood):
        package = "nelbo.likelihoods." if value.__module__.startswith("nelbo.") else ""
        line = f"likelihood={package}{value.__name__}(), with its arguments, if it has any"
    elif isinstance(value, str) and value.partition(":")[0] in LIKELIHOODS.names():
        line = f"likelihood=nelbo.likelihoods.named({value!r})"
    elif isinstance(value, str):
        line = f"likelihood=nelbo.likelihoods.named(name) with one of the names {', '.join(LIKELIHOODS.names())}"
    got = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
    got = repr(value) if isinstance(value, str) else got
    raise TypeError(f"likelihood must be an instance of nelbo.likelihoods.Likelihood, got {got}; write {line}")


def fitting(x: Tensor | ValueSummary) -> Suggestion:
    """The registered likelihood that fits the values of x, or their summary, best, by each family's own judgement."""
    summary = x if isinstance(x, ValueSummary) else summarize(x)
    suggestions: list[Suggestion] = []
    for constructor in LIKELIHOODS.constructors.values():
        if isinstance(constructor, type) and issubclass(constructor, Likelihood):
            suggestion = constructor.suggested_by(summary)
            suggestions += [] if suggestion is None else [suggestion]
    # the name breaks ties, so that the order of registration does not matter
    return min(suggestions, key=lambda suggestion: (-suggestion.score, suggestion.name))
