"""A likelihood of somebody's own goes wherever nelbo's do: one class, passed as it is or registered by name."""

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Distribution, Geometric, Independent, Laplace, Poisson, constraints

import nelbo
from nelbo import likelihoods
from nelbo.cli import main
from nelbo.likelihoods import Likelihood, Suggestion
from nelbo.studio.forms import form
from nelbo.studio.library import Library
from nelbo.studio.session import Session

EVENT = (6,)
PACKAGE = Path(nelbo.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


class InflatedPoisson(Distribution):
    """A Poisson count with probability 1 - share, else 0."""

    support = constraints.nonnegative_integer
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, rate, logits):
        self.rate, self.share = rate, torch.sigmoid(logits)
        self.poisson = Poisson(rate, validate_args=False)
        super().__init__(rate.shape, validate_args=False)

    def log_prob(self, value):
        counted = self.poisson.log_prob(value) + torch.log1p(-self.share)
        return torch.where(value == 0, torch.logaddexp(self.share.log(), counted), counted)

    def sample(self, sample_shape=()):
        with torch.no_grad():
            counts = self.poisson.sample(sample_shape)
            return counts * (torch.rand_like(counts) >= self.share)

    @property
    def mean(self):
        return (1 - self.share) * self.rate

    @property
    def variance(self):
        return self.mean * (1 + self.share * self.rate)


class ZeroInflatedPoisson(Likelihood):
    """Everything that a family can say about itself; the number is a factor on all rates."""

    parameters_per_feature = 2
    support = "counts 0, 1, 2, ..."
    wider = "likelihoods.NegativeBinomial()"

    def __init__(self, exposure: float = 1.0):
        super().__init__()
        self.exposure = exposure

    def forward(self, parameters, event_dims):
        log_rate, logits = self.split(parameters, event_dims)
        rate = self.exposure * log_rate.clamp(max=20.0).exp()
        return Independent(InflatedPoisson(rate, logits), event_dims, validate_args=False)

    def accepts(self, x):
        return bool(x.min() >= 0) and bool((x == x.round()).all())

    @classmethod
    def suggested_by(cls, summary):
        if summary.kind != "counts" or summary.maximum < 40:
            return None
        return Suggestion("zero_inflated_poisson", "ZeroInflatedPoisson()", summary, score=0.9)

    def encoder_transform(self, event):
        return nelbo.nn.Log1p()

    def pseudo_inputs(self, n, event):
        return torch.randn(n, *event).exp(), (0.0, math.inf)

    def at_mean(self, x):
        return torch.cat([((x.sum(0) + 0.5) / (len(x) + 1)).log() + math.log(2), torch.zeros_like(x[0])])


class Decays(Likelihood):
    """The least that a family needs: counts that fall off from zero."""

    support = "counts 0, 1, 2, ..."

    def forward(self, parameters, event_dims):
        return Independent(Geometric(logits=parameters, validate_args=False), event_dims, validate_args=False)

    def accepts(self, x):
        return bool(x.min() >= 0) and bool((x == x.round()).all())


@pytest.fixture(scope="module", autouse=True)
def registered():
    before = dict(likelihoods.LIKELIHOODS.constructors)
    likelihoods.register("zero_inflated_poisson")(ZeroInflatedPoisson)
    yield
    likelihoods.LIKELIHOODS.constructors = before


def counts(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rate = 8 * torch.rand(n, 1, generator=generator).expand(n, *EVENT)
    return torch.poisson(rate, generator=generator) * (torch.rand(n, *EVENT, generator=generator) < 0.6)


def by_name():
    return nelbo.recipes.vae(EVENT, likelihood="zero_inflated_poisson:1", hidden=(16,), prior="vamp:5")


def as_it_is():
    return nelbo.VAE(nelbo.nn.MLP(EVENT, 4), nelbo.nn.MLP(2, EVENT), latent=2, likelihood=Decays())


@pytest.fixture(scope="module", params=[by_name, as_it_is])
def run(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("own") / "run"
    source = out.parent / "counts.npy"
    np.save(source, counts(300).numpy())
    data = nelbo.data.load(source, validation=60)
    assert isinstance(data.train.take(1), torch.Tensor)
    return nelbo.fit(request.param(), data, epochs=8, out=out, progress=False)


def test_it_is_trained_from_where_it_says_and_read_back(run):
    losses = [epoch["train_nelbo"] for epoch in run.history]
    assert losses[-1] < losses[0]
    assert all(map(math.isfinite, losses))
    model = None if run.model.recipe else as_it_is()
    x = run.data.validation.take(5)
    again = nelbo.load(run.path, model=model).model
    assert torch.equal(again.reconstruct(x), run.model.reconstruct(x))
    if model is None:
        assert isinstance(again.px_family, ZeroInflatedPoisson)
        assert isinstance(again.encoder[0], nelbo.nn.Log1p)


def test_it_is_measured_and_drawn_into_a_page(run, tmp_path):
    report = nelbo.measure.report(run, effort="quick")
    measures, page = report.save(tmp_path)
    assert json.loads(measures.read_text())["sections"]
    assert "<html" in page.read_text()
    x = run.data.validation.take(10)
    evidence = nelbo.measure.log_evidence(run.model, x)
    assert evidence.method == "quadrature"
    line = torch.linspace(-12, 12, 401)
    z = torch.cartesian_prod(line, line)
    with torch.no_grad():
        joint = run.model.prior.log_prob(z)[:, None] + run.model.likelihood(z[:, None]).log_prob(x)
    summed = torch.logsumexp(joint.double(), 0) + 2 * math.log(float(line[1] - line[0]))
    torch.testing.assert_close(evidence.value.double(), summed, atol=2e-3, rtol=0)


def test_it_is_diagnosed(run):
    findings = nelbo.diagnose(run)
    ids = {finding.id for finding in findings} | {passed.id for passed in findings.passed}
    assert {"outside-support", "dispersion"} <= ids
    assert "outside-support" not in findings
    for finding in findings:
        if finding.id == "dispersion":
            assert ("NegativeBinomial" in finding.change) == bool(run.model.px_family.wider)


def test_the_inspector_answers(run):
    session = Session()
    name = Library.of(session).add(run)

    def ask(kind, **content):
        reply = session.ask({"kind": f"inspect.{kind}", "id": 1, "run": name, **content})
        assert "error" not in reply.content, reply.content
        return json.loads(json.dumps(reply.content, allow_nan=False)), reply.buffers

    opened, _ = ask("open")
    assert opened["likelihood"] == type(run.model.px_family).__name__
    assert opened["picture"] is None  # the page leaves the decoding to Python
    looked, _ = ask("examples", rows=[0, 3])
    x = run.data.validation.take([0])
    with torch.no_grad():
        at_mean = -float(run.model.likelihood(run.model.encode(x)).log_prob(x))
    assert looked["examples"][0]["at_mean"] == pytest.approx(at_mean, rel=1e-5)


def test_data_suggest_it_whatever_the_order_of_registration():
    large, small = 10 * counts(50), counts(50).clamp(max=20)
    assert likelihoods.fitting(large).name == "zero_inflated_poisson"
    assert likelihoods.fitting(small).name in ("negative_binomial", "categorical:21")
    constructors = likelihoods.LIKELIHOODS.constructors
    order = dict(constructors)
    try:
        constructors.clear()
        constructors.update(reversed(order.items()))
        assert likelihoods.fitting(large).name == "zero_inflated_poisson"
        assert likelihoods.fitting(small).name in ("negative_binomial", "categorical:21")
    finally:
        constructors.clear()
        constructors.update(order)


def test_an_installed_package_declares_it_for_the_shell(tmp_path, monkeypatch, capsys):
    (tmp_path / "decaying.py").write_text(
        "from tests.test_own_likelihood import Decays\n\n\n"
        "class Declared(Decays):\n    def __init__(self, factor: int = 1):\n"
        "        super().__init__()\n        self.factor = factor\n"
    )
    installed = tmp_path / "decaying-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: decaying\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[nelbo.likelihoods]\ndecays = decaying:Declared\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(likelihoods.LIKELIHOODS, "constructors", dict(likelihoods.LIKELIHOODS.constructors))
    assert likelihoods.names()[-1] == "decays"
    assert "decays" in next(field for field in form() if field["name"] == "likelihood")["suggestions"]
    np.save("counts.npy", counts(100).numpy())
    assert main(["fit", "counts.npy", "--likelihood", "decays:3", "--epochs", "1", "--out", "run"]) == 0
    family = nelbo.load("run").model.px_family
    assert (type(family).__name__, family.factor) == ("Declared", 3)


def test_a_family_of_a_known_name_is_not_taken_for_the_known_one():
    """A Poisson whose decoder gives rates, and a Normal that is a Laplace."""

    class Rates(Likelihood):
        support = "counts 0, 1, 2, ..."

        def forward(self, parameters, event_dims):
            return Independent(Poisson(parameters, validate_args=False), event_dims, validate_args=False)

        def accepts(self, x):
            return True

    class Absolute(Rates):
        def forward(self, parameters, event_dims):
            return Independent(Laplace(parameters, 1.0, validate_args=False), event_dims, validate_args=False)

    Rates.__name__, Absolute.__name__ = "Poisson", "Normal"
    x = counts(64)
    encoder, decoder = torch.nn.Linear(6, 4), torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Softplus())

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder

        def encode(self, x):
            return self.encoder(x).chunk(2, dim=1)

        def decode(self, z):
            return self.decoder(z)

    model = Model()

    def loss(error):
        def loss_function(recon_x, x, mu, logvar):
            return error(recon_x, x) - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()

        return loss_function

    def weighed(likelihood, error):
        vae = nelbo.wrap(encode=model.encode, decode=model.decode, x=x, likelihood=likelihood, scale="logvar")
        return nelbo.diagnosis.effective_beta(loss(error), vae, x)

    squares = weighed(Rates(), lambda recon_x, x: (recon_x - x).pow(2).sum() / 2)
    assert squares.reconstruction == "squared error"
    absolute = weighed(Absolute(), lambda recon_x, x: (recon_x - x).abs().sum())
    assert (absolute.reconstruction, absolute.sigma) == ("declared", None)
    assert float(absolute.beta) == pytest.approx(1, rel=1e-3)


ALLOWED = {
    "axioms/families.py": "looks up a name that the user typed",
    "diagnosis/checks/architecture.py": "tells operations in torch's graph, whose nodes have no other name",
    "diagnosis/diagnose.py": "tells layers of torch, whose base classes are private",
}


def class_names_compared(tree):
    """Lines on which the name of a class, or a variable that holds one, is compared with something."""
    lines = set()
    for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]:
        holders = set()
        if scope is not tree:
            names = [node for node in ast.walk(scope) if isinstance(node, ast.Assign) and is_class_name(node.value)]
            holders = {target.id for node in names for target in node.targets if isinstance(target, ast.Name)}
        for node in ast.walk(scope):
            compared = []
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                compared = [*sides, *(part for side in sides for part in getattr(side, "elts", ()))]
            elif isinstance(node, ast.Attribute):
                compared = [node.value]  # type(x).__name__.startswith(...)
            elif isinstance(node, ast.Match):
                compared = [node.subject]
            if any(is_class_name(part) or (isinstance(part, ast.Name) and part.id in holders) for part in compared):
                lines.add(node.lineno)
    return lines


def is_class_name(node):
    return isinstance(node, ast.Attribute) and node.attr in ("__name__", "__qualname__")


def test_nothing_is_recognized_by_the_name_of_its_class():
    lines = {str(path.relative_to(PACKAGE)): class_names_compared(ast.parse(path.read_text())) for path in SOURCES}
    assert {path for path, found in lines.items() if found} <= set(ALLOWED)
    old = """
def told(model, q):
    family = type(model).__name__
    if family in ("Bernoulli", "Normal"):
        return type(q).__name__ == "Normal"
    return type(q).__name__.endswith("Normal")
"""
    assert class_names_compared(ast.parse(old)) == {4, 5, 6}
