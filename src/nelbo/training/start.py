"""Before the first step: model, objective and data are tried on each other, and the output bias is initialized."""

import torch

from nelbo.data import Batch, Data, Dataset
from nelbo.nn import MLP, ConvDecoder
from nelbo.objectives import Objective, Progress, Terms
from nelbo.randomness import own_randomness
from nelbo.training.settings import Settings
from nelbo.vae import Model, conditioned, place_of

_CHECKED_ROWS = 10_000  # of the data are checked against the likelihood before a training begins
_ROWS_OF_MEAN = 10_000


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
                batch = dataset.examples(min(len(dataset), _CHECKED_ROWS))
                try:
                    model.px_family.check(batch.x)
                except ValueError as error:
                    raise ValueError(f"in the {name} data, {error}") from error
                few = batch[:2].to(device, None if weight is None else weight.dtype)
                with conditioned(model, few.c) as given:
                    given.check(few.x)
                    _try_objective(objective, model, few, len(data.train))
                if name == "training" and len(dataset) % settings.batch_size == 1:
                    _try_alone(objective, model, few, len(dataset), settings.batch_size)
    finally:
        model.train(training)


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


def _try_alone(objective: Objective, model: Model, batch: Batch, n: int, batch_size: int) -> None:
    """Some objectives compare the examples of a batch, and the last batch of this training holds one."""
    try:
        _try_objective(objective, model, batch[:1], n)
    except ValueError as error:
        fitting = next((size for size in range(batch_size - 1, 1, -1) if n % size != 1), None)
        line = f"write batch_size={fitting}" if fitting else "use more examples"
        raise ValueError(
            f"{n} examples in batches of {batch_size} leave a last batch of one: {error}; {line}"
        ) from error


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
    x = data.take(min(len(data), _ROWS_OF_MEAN))
    if isinstance(decoder, ConvDecoder):
        x = x.movedim(1, -1).flatten(0, -2)  # one bias for all pixels of a channel
    bias = model.px_family.at_mean(x)
    if bias is not None:
        decoder.output_bias.copy_(bias.flatten())
