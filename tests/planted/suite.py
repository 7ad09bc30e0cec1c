"""Diagnose the planted cases: what was found, what was missed, what was a false alarm."""

import importlib.util
import time
from dataclasses import dataclass, replace

import torch

import nelbo
from nelbo.data import as_batch
from nelbo.diagnosis.registry import CHECKS
from nelbo.report import Findings
from nelbo.vae import as_model
from tests.planted.cases import FAULTS, HEALTHY, WILD, Planted, Subject, seeded

_FILES = (
    "healthy",
    "latent_faults",
    "code_faults",
    "data_faults",
    "training_faults",
    "loss_faults",
    "evaluation_faults",
    "architecture_faults",
    "wild.images",
    "wild.outputs",
    "wild.tables",
    "wild.cells",
    "wild.sequences",
)


def load() -> None:
    """Register every case."""
    for name in _FILES:
        if importlib.util.find_spec(f"tests.planted.{name}") is not None:
            importlib.import_module(f"tests.planted.{name}")


@dataclass
class Outcome:
    """A case and what the diagnosis said of it."""

    planted: Planted
    subject: Subject
    findings: Findings
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the fault is named first; of a healthy model, whether nothing severe is found."""
        if self.planted.finding is None:
            return not self.findings.severe
        return bool(len(self.findings)) and self.findings[0].id == self.planted.finding

    @property
    def said(self) -> str:
        """The findings in their order, severity first letter."""
        return ", ".join(f"{f.id} ({f.severity})" for f in self.findings if f.severity != "note") or "nothing"


def view(subject: Subject):
    """The subject as nelbo sees it, through nelbo.wrap where it is not built of nelbo's parts."""
    if isinstance(subject.model, nelbo.Model | nelbo.Run):
        return as_model(subject.model)
    if subject.likelihood is None:
        few = as_batch(subject.x)[:200]
        return nelbo.wrap(subject.model, x=few.x, c=few.c, **subject.extra)
    arguments = {
        "encode": subject.model.encode,
        "decode": subject.model.decode,
        "x": subject.x[:200],
        "module": subject.model,
        "output": {"poisson": "log_rates", "normal_decoded": "log_std", "negative_binomial": "log_rates"}.get(
            subject.likelihood, "mean" if subject.likelihood.startswith("normal") else "logits"
        ),
        "scale": "logvar",
        "likelihood": nelbo.likelihoods.named(subject.likelihood),
    }
    return nelbo.wrap(**(arguments | subject.extra))


def examine(planted: Planted) -> Outcome:
    """Train the case and diagnose it."""
    subject = seeded(planted)
    start = time.perf_counter()
    findings = diagnosed(subject)
    return Outcome(planted, subject, findings, time.perf_counter() - start)


def diagnosed(subject: Subject) -> Findings:
    """What nelbo says of the subject, with all that its user hands over."""
    with torch.random.fork_rng([]):
        return nelbo.diagnose(
            subject.model if isinstance(subject.model, nelbo.Run) else view(subject),
            subject.x,
            held_out=subject.held_out,
            history=subject.history,
            loss=subject.loss,
            reported=subject.reported,
            seconds=None,  # what is found depends on no other program
            objective=None if subject.beta is None else nelbo.objectives.Beta(subject.beta),
        )


EVIDENCE = {
    "loss and history": lambda s: replace(s, loss=s.differentiated),
    "loss, no history": lambda s: replace(s, loss=s.differentiated, history=None),
    "history, no loss": lambda s: replace(s, loss=None),
    "neither": lambda s: replace(s, loss=None, history=None),
}
"""What a user may hand over of the same training."""


def causes(planted: Planted, subject: Subject) -> set[str]:
    """Ids of which one must come first: the planted one, or the fault of the loss that causes it, where one is given.

    Empty where the planted one cannot be found in what is handed over.
    """
    given = {"loss": subject.loss, "history": subject.history, "reported": subject.reported}
    if not all(given.get(need, True) for need in CHECKS[str(planted.finding)].page.needs):
        return set()
    pages = [check.page for check in CHECKS.values() if "loss" in check.page.needs and subject.loss is not None]
    return {str(planted.finding), *(page.id for page in pages if planted.finding in page.explains)}


def cases(names: list[str] | None = None, *, wild: bool = False) -> list[Planted]:
    """The cases of these names, of either suite, or all of one: faults first."""
    load()
    if names:
        table = FAULTS | HEALTHY | WILD
        return [table[name] for name in names]
    return sorted(WILD.values(), key=lambda p: p.finding is None) if wild else [*FAULTS.values(), *HEALTHY.values()]
