"""Where a NaN or an infinity came from: the failed stretch is replayed step by step under watch."""

from collections.abc import Callable, Generator
from typing import Any

from torch import nn

from nelbo.data import Batch
from nelbo.objectives import Objective, Progress, Terms
from nelbo.training.checkpoint import Keeper
from nelbo.training.nonfinite import (
    NonFiniteError,
    NonFiniteFound,
    examine_data,
    examine_terms,
    examine_weights,
    watch,
)
from nelbo.training.step import Updates
from nelbo.vae import Model


def explain(updates: Updates, keeper: Keeper) -> NonFiniteError:
    """Replay the steps from the last good state to the present one, and set the training back to it.

    Returns:
        The error to raise, which names the first tensor that is not finite.
    """
    failed_at = updates.state.position.step
    where = "before the first step"
    cause = "a value that is not finite, which did not come back when the steps were run again"
    try:
        if keeper.last is None:
            examine_weights(updates.model)
        keeper.restore()
        updates.step.train()
        with updates.alone():  # each process finds the same, and none waits for one that has stopped
            for raw in _batches_until(updates, failed_at):
                position = updates.state.position
                where = f"in epoch {position.epoch + 1}, batch {position.batch + 1} of {updates.per_epoch}"
                where += f" (step {position.step + 1})"
                with watch(updates.model):
                    updates.update(raw, watched=True)
    except NonFiniteFound as found:
        cause = str(found)
    finally:
        keeper.restore()
    advice = "Try a lower learning_rate=, clip=1.0, or look at the data of that batch"
    return NonFiniteError(f"training stopped {where}: {cause}. {keeper.sentence}. {advice}")


def _batches_until(updates: Updates, step: int) -> Generator[Any]:
    position = updates.state.position
    while position.step < step:
        for raw in updates.batches():
            yield raw
            if position.step >= step:
                return
        position.epoch, position.batch = position.epoch + 1, 0


def find_in_validation(validate: Callable[[Callable[..., Terms]], Any], objective: Objective, model: nn.Module) -> None:
    """Validate once more, under watch, and raise a NonFiniteFound that names the first tensor that is not finite.

    Args:
        validate: evaluates an objective on the validation set.
        objective: of the training.
        model: in training.
    """
    done = 0

    def watched(model: Model, batch: Batch, progress: Progress) -> Terms:
        nonlocal done
        examine_data(batch.x)
        terms = objective.terms(model, batch, progress)
        examine_terms(terms, kl=objective.has_kl())
        done += 1
        return terms

    try:
        with watch(model):
            validate(watched)
    except NonFiniteFound as found:
        raise NonFiniteFound(f"in validation batch {done + 1}, {found}") from None
    raise NonFiniteFound("the validation objective is not finite, which did not come back when it was measured again")
