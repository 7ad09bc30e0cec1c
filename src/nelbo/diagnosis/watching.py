"""watch(): both terms of a training in nats, and its faults, while another program runs it."""

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar, final

import torch
from torch import distributed

from nelbo.data import Batch, as_batch
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.checks.loss import weigh
from nelbo.diagnosis.diagnose import verdicts
from nelbo.diagnosis.loss_calls import check_function
from nelbo.diagnosis.registry import CHECKS
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluation_mode
from nelbo.measure.latent_usage import THRESHOLD, variance_of_means
from nelbo.randomness import generator, own_randomness
from nelbo.training.progress import sentence
from nelbo.vae import Model, place_of, placed
from nelbo.wrapping.modules import is_sharded, modules_behind, without_trace
from nelbo.wrapping.view import Wrapped, viewed

_Result = TypeVar("_Result")

_AIM = 0.02
"""The share of the training's time that ``every`` is chosen for; a row may take half as long again as the last."""
_FEWEST, _MOST = 50, 500  # examples
_FIRST = 5  # steps, whose time tells how long one takes


@final
class Watch:
    """What :func:`nelbo.watch` returns; call it after each step, or pass it as a callback.

    Attributes:
        model: the model as a view; ``print(watching.model)`` says what was concluded about it.
        rows: a dictionary for each row, ``pandas.DataFrame(watching.rows)``: "step"; "reconstruction_error", "kl" and
            "nelbo", means in nats per example, with "nelbo_standard_error" over the examples; "active_units"; "beta",
            the effective one; "findings", the ids of all that are found now; "seconds" of the row and "share". None
            stands for what could not be measured, as the active units of codes.
        steps: counted so far.
        every: steps between two rows.
        seconds: that the rows after the first step took.
    """

    def __init__(
        self,
        model: Model,
        examples: Batch,
        loss: Callable[..., Any] | None,
        every: int | None,
        callback: Callable[[dict[str, Any]], object] | None,
        show: Callable[[str], object],
    ) -> None:
        self.model, self.examples, self.loss = model, examples, loss
        self.callback, self.show = callback, show
        self.rows: list[dict[str, Any]] = []
        self.steps, self.seconds = 0, 0.0
        self.every, self._chosen = every or _FIRST, every is None
        self._began = math.nan
        self._said: set[str] = set()
        self._due = self.every
        if not _is_another_process():
            self._row(time.perf_counter())

    @property
    def share(self) -> float:
        """The time of the rows after the first step, as a share of the time of the training itself."""
        training = time.perf_counter() - self._began - self.seconds
        return self.seconds / training if self.seconds else 0.0

    def __call__(self, *_: object, **__: object) -> None:
        """Count a step, and add a row where one is due."""
        if not self.steps:
            self._began = time.perf_counter()
        self.steps += 1
        if self.steps < self._due or _is_another_process():
            return
        now = time.perf_counter()
        if self._chosen:
            self._due = self._next(now)
            if self.steps < self._due:
                return
        self._row(now)
        last, self._due = self.steps, self._next(time.perf_counter()) if self._chosen else self.steps + self.every
        self.every = self._due - last

    on_step_end = __call__
    """What a Trainer of Hugging Face's transformers calls after each step."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Do nothing at the other events that such a Trainer calls its callbacks at."""
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _next(self, now: float) -> int:
        """The step by which all rows so far and another one have taken their share of the training's time."""
        step = (now - self._began - self.seconds) / (self.steps - 1)
        return max(self.steps, math.ceil((self.seconds + self.rows[-1]["seconds"]) / _AIM / step))

    def _row(self, start: float) -> None:
        with self._apart() as modules:
            case = None
            if any(map(is_sharded, modules)):
                self._say("not checked, because the weights lie in parts in several processes")
            else:
                case = self._try(self._case)
            row, lines = self._measured(case)
        row["seconds"] = time.perf_counter() - start
        if self.steps:
            self.seconds += row["seconds"]
        row["share"] = self.share
        self.rows.append(row)
        for line in lines:
            self._say(line)
        if self.callback is not None:
            self.callback(row)

    def _case(self) -> Case:
        model, batch = self.model, placed(self.model, self.examples)
        if isinstance(model, Wrapped):
            model.settle(batch)
        return Case(Evaluation(model, batch), loss=self.loss, objective=model.objective)

    def _measured(self, case: Case | None) -> tuple[dict[str, Any], list[str]]:
        """A row, and the lines to show of it."""
        row: dict[str, Any] = dict.fromkeys(
            ("step", "reconstruction_error", "kl", "nelbo", "nelbo_standard_error", "active_units", "beta", "findings")
        )
        row["step"], row["findings"] = self.steps, ()
        if case is None:
            return row, []
        parts: list[str] = []
        terms = self._try(case.train.terms)
        if terms is not None:
            nelbo = Estimate.mean_of(terms.elbo).scaled(-1)
            row["reconstruction_error"] = float(terms.reconstruction_error.value.mean())
            row["kl"], row["nelbo"] = float(terms.kl.value.mean()), float(nelbo)
            row["nelbo_standard_error"] = float(nelbo.standard_error)
            parts.append(sentence(row))
        coded = self.model.codes is not None
        variance = None if coded else self._try(lambda: variance_of_means(case.train))
        if variance is not None:
            row["active_units"] = int((variance.value > THRESHOLD).sum())
            parts.append(f"{row['active_units']} of {len(variance.value)} units active")
        weighed = None if self.loss is None else self._try(lambda: case.once(weigh))
        if weighed is not None and weighed.is_combination:
            row["beta"] = float(weighed.beta)
            parts.append(f"beta {row['beta']:.4g}")
        # before the training, only what the code says can be wrong
        wanted = [check for check in CHECKS.values() if self.steps or check.page.about == "code"]
        found = self._try(lambda: verdicts(case, wanted))
        lines: list[str] = []
        if found is not None:
            row["findings"] = tuple(finding.id for finding in found.findings)
            parts += row["findings"]
            lines = [f"{f.severity}: {f.title}; nelbo explain {f.id}" for f in found.findings]
        return row, ([f"step {self.steps:,}: {', '.join(parts)}"] if parts else []) + lines

    def _try(self, measure: Callable[[], _Result]) -> _Result | None:
        """What is measured; where it cannot be, None, and a line that says why."""
        try:
            with evaluation_mode(self.model):
                return measure()
        except Exception as why:  # the model and the loss are others' code, and their training goes on
            self._say(f"not checked, because {why}")
            return None

    def _say(self, line: str) -> None:
        """Show a line, once."""
        if line not in self._said:
            self._said.add(line)
            self.show(line)

    @contextmanager
    def _apart(self) -> Generator[tuple[torch.nn.Module, ...]]:
        """Within, whatever runs leaves nothing behind in the training."""
        modules = tuple(dict.fromkeys((self.model, *modules_behind(self.loss))))
        weight = place_of(self.model)
        device = torch.device("cpu") if weight is None else weight.device
        if isinstance(self.model, Wrapped):  # what is the view's own lies where the training has moved the model
            self.model.px_family.to(device)
            self.model.pz_family.to(device)
        trained = [(p, p.requires_grad) for module in modules for p in module.parameters()]
        with own_randomness(device), without_trace(self.loss, *modules):
            try:
                yield modules
            finally:
                for parameter, required in trained:
                    if parameter.requires_grad != required:
                        parameter.requires_grad_(required)


def watch(
    model: Any,
    x: Any,
    *,
    loss: Callable[..., Any] | None = None,
    every: int | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    show: Callable[[str], object] = print,
) -> Watch:
    """Watch a training that another program runs: both terms in nats, effective beta, active units, new findings.

    Call the result after each step of a loop of your own, or pass it to a trainer: ``Trainer(...,
    callbacks=[LambdaCallback(on_train_batch_end=watching)])`` of Lightning, ``Trainer(..., callbacks=[watching])`` of
    Hugging Face's transformers, ``nelbo.fit(..., callback=watching)``, where a step is an epoch. The same examples are
    measured each time, in evaluation mode.

    The training ends in the same weights, to the bit: modes, gradients, buffers, random generators and counters are as
    they were after each row. Where ``every`` is not given, it follows from how long a step and a row take, so that the
    rows take less than 3 % of the training's time; ``watching.share`` says how much they took. A row before the first
    step tells what one costs. Of several processes the first one watches.

    >>> import torch, nelbo
    >>> vae = nelbo.recipes.vae((6,), latent=2, hidden=(8,))
    >>> x = torch.bernoulli(torch.full((200, 6), 0.5))
    >>> watching = nelbo.watch(vae, x, every=10, show=lambda line: None)
    >>> for step in range(20):
    ...     watching()                                           # after optimizer.step()
    >>> [row["step"] for row in watching.rows]
    [0, 10, 20]

    Args:
        model: from ``nelbo.wrap``, a nelbo.VAE, or whatever ``nelbo.wrap(model, x=x)`` takes.
        x: (n, \\*event), 50 or more examples that are measured, held-out ones or some that it is trained on, or a
            ``Batch`` of them with their conditions; at most 500 of them, chosen at random, are used. Any device.
        loss: the function that is differentiated, as :func:`nelbo.diagnosis.effective_beta` takes it.
        every: steps between two rows; None chooses it.
        callback: called with each row, such as ``nelbo.track("tensorboard")``.
        show: called with each line that is shown: a row in short, and each finding when it first appears.

    Returns:
        Watch, with ``.rows``.

    Raises:
        TypeError: loss, callback or show is not a function, or the model is none.
        ValueError: x holds too few examples, ``every`` is not a positive integer, or the model's answers cannot be
            read; the message says what to write. What cannot be measured later raises nothing: one line says "not
            checked, because".
    """
    if loss is not None:
        check_function(loss)
    for name, function in (("callback", callback), ("show", show)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function, got {type(function).__name__}; write {name}=print")
    if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"every must be a number of steps, at least 1, got {every!r}; write every=100 or leave it out")
    batch = as_batch(x)
    if len(batch) < _FEWEST:
        raise ValueError(f"x must hold {_FEWEST} or more examples, got shape {tuple(batch.x.shape)}; write x[:500]")
    batch = batch[torch.randperm(len(batch), generator=generator(0))[:_MOST]]
    return Watch(viewed(model, batch), batch, loss, every, callback, show)


def _is_another_process() -> bool:
    """Whether this is not the first of the processes that train together."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_rank() > 0


def _nothing(*_: object, **__: object) -> None:
    return
