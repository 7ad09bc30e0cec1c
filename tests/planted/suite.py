"""Diagnose the planted cases: what was found, what was missed, what was a false alarm."""

import importlib.util
import time
from dataclasses import dataclass

import torch

import nelbo
from nelbo.report import Findings
from tests.planted.cases import FAULTS, HEALTHY, Planted, Subject, seeded

_FILES = ("healthy", "latent_faults", "data_faults", "training_faults", "loss_faults", "evaluation_faults")


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
    """The subject as nelbo sees it, through nelbo.wrap."""
    arguments = {
        "encode": subject.model.encode,
        "decode": subject.model.decode,
        "x": subject.x[:200],
        "module": subject.model,
        "output": {"poisson": "log_rates", "normal_decoded": "parameters", "negative_binomial": "parameters"}.get(
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
    with torch.random.fork_rng([]):
        findings = nelbo.diagnose(
            view(subject),
            subject.x,
            held_out=subject.held_out,
            history=subject.history,
            loss=subject.loss,
            reported=subject.reported,
            objective=None if subject.beta is None else nelbo.objectives.Beta(subject.beta),
        )
    return Outcome(planted, subject, findings, time.perf_counter() - start)


def cases(names: list[str] | None = None) -> list[Planted]:
    """The cases of these names, or all: faults first."""
    load()
    table = FAULTS | HEALTHY
    return [table[name] for name in names] if names else list(table.values())
