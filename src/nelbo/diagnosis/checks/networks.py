"""What encoder and decoder do with the data: overfit, and units that are dead."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nelbo import latents
from nelbo.diagnosis.case import Case, Seen
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.registry import ALPHA, NotMeasurable, Verdict, check, found, passed
from nelbo.diagnosis.statistics import Mean, mean_of, z_critical


class _Bounds(NamedTuple):
    elbo: Tensor
    importance: Tensor
    """The importance-weighted bound."""


def _bounds(seen: Seen, examples: int = 300, samples: int = 64) -> _Bounds:
    """The ELBO and the importance-weighted bound of the first examples, (n,) each, on the same draws."""
    x = seen.x[:examples]
    log_w: list[Tensor] = []
    with torch.no_grad(), seen.draws("importance"):
        qz, pz = seen.model.posterior(x), seen.model.prior
        for _ in range(samples):
            z, log_qz = latents.draw_with_log_prob(qz)
            log_w.append(seen.model.likelihood(z).log_prob(x) + pz.log_prob(z) - log_qz)
    weights = torch.stack(log_w).double()
    return _Bounds(weights.mean(0), weights.logsumexp(0) - math.log(samples))


def _difference(a: Tensor, b: Tensor) -> Mean:
    """mean(a) - mean(b) of two independent sets of examples."""
    first, second = mean_of(a), mean_of(b)
    return Mean(first.value - second.value, math.hypot(first.standard_error, second.standard_error))


@check(
    "overfit",
    title="Overfit: held-out examples are worse by more than z can tell",
    needs=("held_out",),
    false_alarms=ALPHA,
    meaning="The bound is much better on the training data than on examples the model never saw. The evidence says how "
    "much of that is the decoder's (it knows the training data by heart) and how much the encoder's (it finds worse "
    "codes for new data, while the decoder could explain them).",
    change="nelbo.fit(vae, data, patience=10, weight_decay=1e-3)  # stop at the best validation NELBO",
    elsewhere="Stop at the best validation loss, take a smaller network, weight decay or more data; if it is the "
    "encoder that overfits, regularize it alone or train it on noisy inputs.",
    source="Wu et al. 2017, section 5.3 (the bound falls while log p(x) stays: the encoder overfits, not the decoder); "
    "Burda et al. 2016 report 0.6 to 2.7 nats between training and test.",
)
def overfit(case: Case) -> Verdict:
    """ELBO of the training examples minus ELBO of the held-out ones, with the standard error of both means. With the
    importance-weighted bound L of 64 samples in place of log p(x): the decoder's part is L(train) - L(held-out), the
    encoder's part the rest, the growth of L - ELBO. Found where the difference is beyond chance and larger than half
    of the KL, severe above the KL itself: then held-out examples lose more than all that z tells about them. With a
    history, the cost is how much the validation NELBO rose since its best epoch.
    """
    if case.held_out is None:
        raise NotMeasurable("needs held_out=")
    train, held = _bounds(case.train), _bounds(case.held_out)
    gap, decoder = _difference(train.elbo, held.elbo), _difference(train.importance, held.importance)
    encoder = _difference(held.importance - held.elbo, train.importance - train.elbo)
    kl = mean_of(case.train.kl)
    numbers = (
        Measured("ELBO on training data, minus held-out", gap.value, gap.standard_error),
        Measured("of this the decoder's", decoder.value, decoder.standard_error),
        Measured("of this the encoder's", encoder.value, encoder.standard_error),
        Measured("KL per example", kl.value, kl.standard_error),
    )
    cost = _since_best(case)
    if gap.t < z_critical() or gap.value < 0.5 * kl.value:
        return passed(*numbers)
    return found("severe" if gap.value > kl.value else "warning", *numbers, cost=cost)


def _since_best(case: Case) -> Measured | None:
    column = None if case.history is None else case.history.get("validation_nelbo")
    if column is None:
        return None
    finite = column[column == column]  # noqa: PLR0124  (NaN is not equal to itself)
    lost = float(finite[-1] - finite.min())
    errors = None if case.history is None else case.history.get("validation_nelbo_standard_error")
    error = float(errors[-1]) if errors is not None else 0.0
    return Measured("since the best epoch", lost, error) if lost > 0 else None


@check(
    "dead-units",
    title="Dead units: part of a layer gets no gradient",
    needs=("networks",),
    false_alarms=0.0,
    meaning="Hidden units whose gradient is zero for every example will never change again, as after a step that "
    "pushed a ReLU below zero for all inputs. The network is narrower than it looks.",
    change="nelbo.recipes.vae(event, activation='gelu')  # or a lower learning_rate=, which kills fewer",
    elsewhere="Lower the learning rate, take a leaky activation (LeakyReLU, GELU, SiLU), and initialize biases at "
    "zero.",
    source="Maas, Hannun & Ng 2013; Lu et al. 2019, \"Dying ReLU and initialization\".",
    explains=("posterior-collapse", "decoder-ignores-z", "unused-units", "over-regularized", "kl-without-information",
              "under-regularized", "sigma-too-small", "dispersion", "aggregate-posterior"),
)  # fmt: skip
def dead_units(case: Case) -> Verdict:
    """The gradient of the NELBO with respect to the bias of each linear or convolutional layer, for each example: a
    unit is dead where it is exactly zero, and its input below zero, in all of the first 500. That alone costs nothing
    that shows: a ReLU encoder of images loses a third of its units in the first epochs of a usual training, and reaches
    the same bound as one that loses none. So it is found above 60 % of a layer, severe above 85 %, and a note where the
    residuals x - E[x|z] hold nothing that more width could explain: probabilistic PCA on one half of them gains no half
    nat on the other half (t test).
    """
    dead = _dead(case)
    if not dead:
        raise NotMeasurable("no linear or convolutional layer with a bias that is trained")
    name, (share, width) = max(dead.items(), key=lambda item: item[1][0])
    worst = Measured(f"dead units in the worst layer, {name}", 100 * share, unit="%")
    numbers = (worst, Measured("units in that layer", float(width), unit=""))
    if share < 0.6:
        return passed(*numbers)
    try:
        left = case.train.structure_left
    except NotMeasurable:
        return found("severe" if share > 0.85 else "warning", *numbers)
    what = "linear latents would still explain"
    structure = Measured(what, left.value, left.standard_error, method="probabilistic PCA of the residuals")
    if left.t <= z_critical() or left.value < 0.5:
        return found("note", *numbers, structure)
    return found("severe" if share > 0.85 else "warning", *numbers, structure)


Gradients = tuple[Tensor | None, ...]  # None: the loss does not depend on it
_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def _dead(case: Case) -> dict[str, tuple[float, int]]:
    """Layer -> (share of dead units, units)."""
    layers = {
        f"{name} ({type(module).__name__})": module
        for network in case.networks
        for name, module in network.named_modules()
        if isinstance(module, _LAYERS) and getattr(module.bias, "requires_grad", False)
    }
    if not layers:
        return {}
    biases: list[Tensor] = [module.bias for module in layers.values()]  # pyright: ignore[reportAssignmentType]
    closed = [torch.ones(len(bias), dtype=torch.bool, device=bias.device) for bias in biases]
    silent = [mask.clone() for mask in closed]

    def listen(mask: Tensor) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            units = output.detach().movedim(-1 if isinstance(module, nn.Linear) else 1, 0)
            mask.logical_and_((units <= 0).flatten(1).all(1))

        return hook

    handles = [module.register_forward_hook(listen(mask)) for module, mask in zip(layers.values(), closed, strict=True)]
    try:
        with torch.enable_grad(), case.draws("gradients"):
            for x in case.x[:500].split(100):
                z = case.model.posterior(x).rsample()
                loss = -(case.model.likelihood(z).log_prob(x) + case.model.prior.log_prob(z)).sum()
                gradients = cast("Gradients", torch.autograd.grad(loss, biases, allow_unused=True))
                for mask, gradient in zip(silent, gradients, strict=True):
                    mask.logical_and_(torch.zeros_like(mask) if gradient is None else gradient == 0)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (float((a & b).double().mean()), len(a)) for name, a, b in zip(layers, silent, closed, strict=True)}
