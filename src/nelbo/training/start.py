"""Before the first step: model, objective and data are tried on each other, and the output bias is initialized."""

import functools
import math
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.data import Batch, Data, Dataset
from nelbo.data.sizes import available_memory, show_size
from nelbo.evaluation.mode import evaluation_mode
from nelbo.likelihoods.observed import resampled
from nelbo.nn import MLP, ConvDecoder
from nelbo.objectives import Objective, Progress, Terms
from nelbo.randomness import own_randomness
from nelbo.training.optimizers import unchanged
from nelbo.training.settings import Settings
from nelbo.vae import Model, conditioned, place_of
from nelbo.wording import listed
from nelbo.wrapping.modules import batch_norms

_ROWS = 10_000  # of the data are checked against the likelihood, and give the mean to start from,
_BYTES_OF_ROWS = 1 << 30  # or so many that these hold them
_MUCH_MEMORY, _MUCH_TIME = 2 << 30, 5.0  # bytes and seconds of a step that are said beforehand
_COPIES = 19  # of the weights, measured: gradients, Adam's moments, and two checkpoints while one of them is written
_HOLES = 100  # examples with missing values that are encoded twice
_NEARER = 0.25  # standard deviations of the data that make the way to their mean worth a word
_LONG, _MORE = 0.5, 8  # seconds of a trial, below which another one is made on so many times its examples
_BACK = 3  # a step takes as long as so many passes forwards


def check_fit(model: Model, objective: Objective, data: Data, settings: Settings) -> None:
    """Raise a ValueError when model, objective and data do not fit each other; trains nothing, leaves all as it was."""
    if not isinstance(objective, Objective):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"objective must be a value such as nelbo.objectives.ELBO(), got {objective!r}; write its brackets, with "
            "its settings in them"
        )
    if settings.patience is not None and data.validation is None:
        raise ValueError("patience= needs validation data to judge by; hold some out with validation=0.1")
    objective.check(model, settings.epochs)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("the model has no weight that requires a gradient: there is nothing to train")
    device, weight = next(model.parameters()).device, place_of(model)
    training = model.training
    model.eval()
    try:
        with own_randomness(device), torch.no_grad():
            for name, dataset in (("validation", data.validation), ("training", data.train)):
                if dataset is None:
                    continue
                batch = dataset.examples(_rows_of(dataset))
                try:
                    model.check_values(batch.x)
                except ValueError as error:
                    raise ValueError(f"in the {name} data, {error}") from error
                few = batch[:2].to(device, None if weight is None else weight.dtype)
                with conditioned(model, few.c) as given:
                    given.check(few.x)
                    step = functools.partial(_try_objective, objective, model, examples=len(data.train))
                    if name == "training":
                        _say_if_costly(step, model, few, dataset, settings)
                    else:
                        step(few)
                if name == "training" and model.takes_missing:
                    _say_if_untold(model, batch.to(device, None if weight is None else weight.dtype))
                if name == "training" and _smallest(len(dataset), settings.batch_size, settings.shards) == 1:
                    _try_alone(objective, model, few, len(dataset), settings)
    finally:
        model.train(training)


def _say_if_untold(model: Model, batch: Batch) -> None:
    """Warn where the encoder gives the same for a missing value as for 0, of some examples with missing values."""
    if sees_no_mask(model, batch):
        warnings.warn(
            "values are missing, and the encoder gives the same for a missing value as for 0: it is not told which are "
            "missing. Write nelbo.VAE(nelbo.nn.WithMask(encoder), decoder, ...), whose encoder gets a mask beside x",
            stacklevel=4,
        )


def sees_no_mask(model: Model, batch: Batch) -> bool:
    """Whether the encoder gives the same for a missing value as for 0, of some examples with missing values."""
    holes = batch[batch.x.isnan().flatten(1).any(1)][:_HOLES]
    if not len(holes):
        return False
    with conditioned(model, holes.c) as given:
        told, zeros = (given.encode(x) for x in (holes.x, holes.x.nan_to_num(nan=0.0)))
    return torch.equal(told, zeros)


def _rows_of(dataset: Dataset) -> int:
    """How many examples stand for all, and fit into memory."""
    return min(len(dataset), _ROWS, max(2, _BYTES_OF_ROWS // (4 * math.prod(dataset.event_shape))))


def _say_if_costly(
    step: Callable[[Batch], None], model: Model, few: Batch, dataset: Dataset, settings: Settings
) -> None:
    """Try a step forwards on a few examples, and warn of what whole batches will take of memory and time, if much."""
    outputs: list[int] = []

    def count(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not getattr(module, "inplace", False):
            outputs.append(output.nbytes)

    leaves = [module for module in model.modules() if next(module.children(), None) is None]
    hooks = [module.register_forward_hook(count) for module in leaves]
    seconds = _seconds_of(step, few)
    for hook in hooks:
        hook.remove()
    batch = min(settings.batch_size, len(dataset))
    parts = batch / len(few)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    memory = _COPIES * weights + parts * (sum(outputs) + 8 * few.x.nbytes)  # layers' outputs; terms of log p(x|z)
    if _BACK * seconds * parts > _MUCH_TIME:
        seconds = _seconds_of(step, few)  # without what the first time of anything takes
        if seconds < _LONG:  # and without what a step takes however few its examples
            more = few[torch.arange(_MORE * len(few)) % len(few)]
            seconds = max(0.0, _seconds_of(step, more) - seconds) / (_MORE - 1)
    each, said = _BACK * seconds * parts, list[str]()
    if memory > _MUCH_MEMORY:
        room = ""
        if few.x.device.type == "cpu":  # an accelerator has a memory of its own
            free = available_memory()
            room = f" ({show_size(free)} are available{'' if memory < free else ': the system may end the process'})"
        said.append(f"about {show_size(memory)} of memory{room}")
    if each > _MUCH_TIME:
        steps = settings.epochs * math.ceil(len(dataset) / batch)
        said.append(f"at least {_duration(each)}, and all {steps:,} of the training {_duration(steps * each)}")
    if said:
        less = f", batch_size={max(1, batch // 4)}" if batch > 1 else ""
        warnings.warn(
            f"each step takes {' and '.join(said)}, by a trial on {len(few)} of its {batch} examples, each of "
            f"{few.x[0].numel():,} values. Smaller examples{less} or fewer weights take less",
            stacklevel=4,
        )


def _seconds_of(step: Callable[[Batch], None], batch: Batch) -> float:
    start = time.thread_time()  # without what a busy machine gives to others meanwhile
    step(batch)
    return time.thread_time() - start


def _duration(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1g} seconds" if seconds < 10 else f"{seconds:.0f} seconds"


def _try_objective(objective: Objective, model: Model, batch: Batch, examples: int) -> None:
    terms = objective.terms(model, batch, Progress(0.0, examples))
    if not isinstance(terms, Terms):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"{type(objective).__name__}.terms must return Terms(loss, value, surrogate), got a {type(terms).__name__}"
        )
    for name, term in (*terms.loss._asdict().items(), ("value", terms.value), ("surrogate", terms.surrogate)):
        if term.shape != (len(batch),):
            raise ValueError(
                f"{type(objective).__name__} must give {name} of shape ({len(batch)},) for {len(batch)} examples, one "
                f"number of nats for each and not their mean; got {tuple(term.shape)}"
            )


def _smallest(n: int, batch_size: int, shards: int) -> int:
    """Examples of the smallest piece that a step of an epoch computes: of its last batch, unless all are alike."""
    return min(max(1, batch // shards) for batch in (min(n, batch_size), n % batch_size or batch_size))


def _try_alone(objective: Objective, model: Model, batch: Batch, n: int, settings: Settings) -> None:
    """Some objectives, and BatchNorm, compare the examples of a batch, of which a step of this training has one."""
    try:
        _try_objective(objective, model, batch[:1], n)
        if layers := batch_norms([model]):
            _try_in_training(objective, model, batch[:1], n, layers)
    except ValueError as error:
        size, shards = settings.batch_size, settings.shards
        sizes = (*range(size - shards, shards, -shards), *range(size + shards, 2 * size + 2 * shards, shards))
        fitting = next((size for size in sizes if _smallest(n, size, shards) > 1), None)
        line = f"write batch_size={fitting}" if fitting else "use more examples"
        what = "batch" if shards == 1 else "piece"
        raise ValueError(f"{n} examples in batches of {size} leave a last {what} of one: {error}; {line}") from error


def _try_in_training(objective: Objective, model: Model, batch: Batch, n: int, layers: Iterable[str]) -> None:
    model.train()
    try:
        with unchanged(model):
            _try_objective(objective, model, batch, n)
    except ValueError as error:
        raise ValueError(f"{listed(layers)} cannot normalize one example ({error})") from error
    finally:
        model.eval()


@torch.no_grad()
def init_output_bias(model: Model, data: Dataset) -> None:
    """Set the output bias of an untrained decoder of nelbo.nn so that p(x|z) has the mean of the data, whatever z is.

    Otherwise the first hundreds of steps go into finding out how often each pixel is on, by way of the latents:
    benchmarks/start.py measures what that costs. Burda et al. 2016 do so in their code. A bias that is not 0 was
    trained or set by somebody, and stays.
    """
    decoder = getattr(model, "decoder", None)
    if not isinstance(decoder, MLP | ConvDecoder) or bool(decoder.output_bias.any()):
        return
    bias = _bias_at_mean(model, data.take(_rows_of(data)), per_channel=isinstance(decoder, ConvDecoder))
    if bias is not None:
        decoder.output_bias.copy_(bias)


def _bias_at_mean(model: Model, x: Tensor, *, per_channel: bool) -> Tensor | None:
    """The output bias at which p(x|z) has the mean of x, for all pixels of a channel alike if so asked."""
    bias = model.px_family.at_mean(resampled(x.movedim(1, -1).flatten(0, -2) if per_channel else x))
    return None if bias is None else bias.flatten()


def far_from_mean(model: Model, data: Dataset) -> str | None:
    """How far from the data's mean a decoder of the user's own starts, and the line that mends it; None if it does not.

    Its weights are the user's, and whether they were trained cannot be known: nothing is changed.
    """
    decoder = getattr(model, "decoder", None)
    if not isinstance(decoder, nn.Module) or isinstance(decoder, MLP | ConvDecoder) or model.conditional:
        return None
    biases = [name for name, _ in decoder.named_parameters() if name.rpartition(".")[2] == "bias"]
    if not biases:
        return None
    old = decoder.get_parameter(biases[-1])
    x = resampled(data.take(_rows_of(data)))
    per_channel = x.dim() == 4 and len(old) < x[0].numel()
    bias = _bias_at_mean(model, x, per_channel=per_channel)
    if bias is None or bias.shape != old.shape:
        return None
    z = torch.zeros(1, model.latent).to(old)
    with evaluation_mode(model):
        parameters = torch.func.functional_call(decoder, {biases[-1]: bias.to(old)}, (z,))
        mended = model.px_family.point_estimate(model.px_family(parameters, x.dim() - 1))
        own = model.decode(z)
    mean, spread = x.mean(0), float(x.std(0, correction=0).square().mean().sqrt())
    before, after = (float((at[0].cpu() - mean).square().mean().sqrt()) for at in (own, mended))
    if not before - after > _NEARER * spread:
        return None
    rows = "x.movedim(1, -1).flatten(0, -2)" if per_channel else "x"
    return (
        f"p(x|z) starts {before / max(spread, 1e-30):.2g} standard deviations of the data from their mean, and the "
        "first epochs go into the way there. To start a new decoder at it, write before fit: with torch.no_grad(): "
        f"model.decoder.get_parameter({biases[-1]!r}).copy_(model.px_family.at_mean({rows}).flatten())"
    )
