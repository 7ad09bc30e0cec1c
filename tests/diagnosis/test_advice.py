"""No finding advises what the model has: every finding's change is held against cases that have followed it."""

import dataclasses
import re

import pytest
from torch import nn

import nelbo
from nelbo.data import as_batch
from nelbo.diagnosis.advice import advised
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import CHECKS
from nelbo.evaluation import Evaluation
from nelbo.objectives import ELBO, Beta, FreeBits, Linear, Schedule
from tests.planted import real
from tests.wrapping.models import binary

X = binary(200, event=(6,))


def recipe(**arguments):
    return nelbo.recipes.vae((6,), **({"latent": 2, "hidden": (8,)} | arguments))


def case_of(model, **facts):
    return Case(Evaluation(model, as_batch(X), seed=0), **facts)


@dataclasses.dataclass
class Has:
    """A case that has something, and the advice to get it, which nobody may give."""

    case: Case
    advice: str


HAD = {
    "the ELBO": Has(case_of(recipe(), objective=ELBO()), r"objectives\.ELBO\(\)|# train on the ELBO;"),
    "a mixture": Has(case_of(recipe(prior="mixture:5")), r"Mixture\(latent\)"),
    "GELUs": Has(case_of(recipe(activation="gelu")), "gelu"),
    "SiLUs": Has(case_of(recipe(activation="silu")), "gelu"),
    "clipping": Has(case_of(recipe(), settings={"clip": 1.0}), r"clip=1\.0"),
    "stronger clipping": Has(case_of(recipe(), settings={"clip": 0.1}), r"clip=1\.0"),
    "a low learning rate": Has(case_of(recipe(), settings={"learning_rate": 1e-4}), "learning_rate=3e-4"),
    "a cosine": Has(case_of(recipe(), settings={"schedule": "cosine"}), "cosine"),
    "patience and decay": Has(
        case_of(recipe(), settings={"patience": 10, "weight_decay": 1e-3}), "patience=10|weight_decay"
    ),
}


@pytest.mark.parametrize("name", list(CHECKS))
def test_the_page_of_a_finding_advises_nothing_that_a_case_has(name):
    page = CHECKS[name].page
    for what, has in HAD.items():
        given = advised(page.change, has.case)
        assert given.strip(), what
        assert not re.search(has.advice, given), f"{what}: {given}"
        # what is not had is advised as before
        assert re.search(has.advice, page.change) or given == page.change, what


def test_every_rule_of_advice_is_one_that_a_page_gives():
    for what, has in HAD.items():
        assert any(re.search(has.advice, check.page.change) for check in CHECKS.values()), what


def test_what_a_run_was_trained_with_is_known_to_the_advice():
    model = nelbo.recipes.vae((6,), latent=2, hidden=(8,))
    run = nelbo.fit(model, X, epochs=1, clip=1.0, schedule="cosine", progress=False)
    assert run.record["training"]["clip"] == 1.0
    found = nelbo.diagnose(run)
    assert not re.search(r"clip=1\.0|cosine", "\n".join(f.change for f in found))


def had(run):
    """What the advice for a run must not say: what it has."""
    model, training = run.model, run.record["training"]
    layers = {type(layer) for layer in model.modules()}
    facts = {
        r"objectives\.ELBO\(\)": isinstance(model.objective, ELBO),
        r"Linear\(10\)": isinstance(getattr(model.objective, "beta", None), Schedule),
        r"FreeBits\(0\.1\)": isinstance(model.objective, FreeBits) and model.objective.floor >= 0.1,
        r"Mixture\(latent\)": not isinstance(model.pz_family, nelbo.priors.StandardNormal),
        r"Normal\(\"optimal\"\)": getattr(model.px_family, "scale", None) == "optimal",
        r"NegativeBinomial\(\)": isinstance(model.px_family, nelbo.likelihoods.NegativeBinomial),
        "gelu": nn.ReLU not in layers and bool(layers & {nn.GELU, nn.SiLU}),
        r"clip=1\.0": (training["clip"] or 2.0) <= 1.0,
        "cosine": training["schedule"] == "cosine",
        "weigh": True,  # its terms are weighed as its objective says
    }
    return "|".join(pattern for pattern, true in facts.items() if true)


@pytest.mark.parametrize(
    "arguments",
    [
        {"recipe": nelbo.recipes.beta_vae, "beta": 4.0},
        {"recipe": nelbo.recipes.beta_vae, "beta": 1.0, "warm_up": 1},
        {"recipe": nelbo.recipes.free_bits_vae},
        {"recipe": nelbo.recipes.vamp_vae, "prior": "vamp:5"},
        {"activation": "gelu", "likelihood": "normal"},
        {"likelihood": "normal", "prior": "mixture:3"},
    ],
    ids=lambda arguments: "-".join(str(getattr(value, "__name__", value)) for value in arguments.values()),
)
def test_no_finding_of_a_run_advises_what_the_run_has(arguments):
    make = dict(arguments)
    model = make.pop("recipe", nelbo.recipes.vae)((6,), latent=2, hidden=(8,), **make)
    run = nelbo.fit(model, X, epochs=3, progress=False)
    for finding in nelbo.diagnose(run):
        assert not re.search(had(run), finding.change), f"{finding.id}: {finding.change}"


SEVERE = {"not-converged", "posterior-collapse"}  # of what was stopped early, and nothing else


@pytest.mark.slow
@pytest.mark.parametrize("name", [model.name for model in real.MODELS])
def test_healthy_models_of_real_data_have_no_severe_fault(name):
    model = next(model for model in real.MODELS if model.name == name)
    run = real.trained(model)
    findings = nelbo.diagnose(run)
    assert {f.id for f in findings if f.severity == "severe"} <= (SEVERE if "short" in name else set()), findings
    for finding in findings:
        assert not re.search(had(run), finding.change), f"{finding.id}: {finding.change}"


def test_a_schedule_that_was_had_is_not_advised():
    given = {"objective": Beta(Linear(10))}
    finding = CHECKS["posterior-collapse"].run(case_of(recipe(), **given))
    assert finding.severity is None or "Linear(10)" not in finding.change
