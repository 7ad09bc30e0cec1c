"""Text to distributions, and the shell commands built on them."""

import itertools
import json
import re

import pytest
import torch
import torch.distributions as D

from nelbo.cli.divergences import axioms, kl
from nelbo.divergences.directions import compare
from nelbo.divergences.expressions import known_names, parse


@pytest.mark.parametrize(
    ("text", "kind", "mean"),
    [
        ("Normal(0, 1)", D.Normal, 0.0),
        (" Normal(loc=-1/2, scale=2**0.5) ", D.Normal, -0.5),
        ("StudentT(3)", D.StudentT, 0.0),
        ("TruncatedNormal(0, 1, low=0)", None, 0.7978845608),
        ("Mixture(1 * Normal(0, 1) + 3 * Normal(4, 0.5))", D.MixtureSameFamily, 3.0),
        ("Categorical([1, 1, 2])", D.Categorical, None),
        ("MultivariateNormal([0, 1], [[2, 0.5], [0.5, 1]])", D.MultivariateNormal, None),
    ],
)
def test_parse(text, kind, mean):
    p = parse(text)
    assert kind is None or isinstance(p, kind)
    if mean is not None:
        assert float(p.mean) == pytest.approx(mean)
        assert p.mean.dtype == torch.float64


@pytest.mark.parametrize(
    ("text", "word", "column"),
    [
        ("Norml(0, 1)", "Norml is not one of the distributions", 0),
        ("Normal(0, 1", "never closed", 6),
        ("Normal(0, __import__('os').system('true'))", "not a number", 10),
        ("Normal(0)", "also needs scale", 0),
        ("Normal(0, -1)", "Normal: scale must be a finite number greater than 0, got -1.0", 10),
        ("Normal(inf, 1)", "Normal: loc must be a finite number, got inf", 7),
        ("Geometric(0)", "probs must be a finite number greater than 0 and at most 1, got 0.0", 10),
        ("Uniform(2, 1)", "Uniform: low must be less than high, got low=2 and high=1", 0),
        ("TruncatedNormal(0, 1, low=2, high=1)", "low must be less than high, got low=2 and high=1", 0),
        ("MultivariateNormal([0, 1], [[1]])", r"covariance_matrix must have the shape \(2, 2\) for a loc of 2", 0),
        ("Mixture(inf * Normal(0, 1))", r"weights .* finite numbers greater than 0, got \[inf\]", 0),
        ("Normal((-1)**0.5, 1)", "not a number", 7),
        ("Normal(0, 1, 2)", "takes 2 parameters", 13),
        ("Normal(mu=3)", "no parameter 'mu'", 7),
        ("Normal(0, 1/0)", "finite", 10),
        ("(lambda: 0)()", "not a distribution", 0),
        ("Mixture(Normal(0, 1) + Laplace(0, 1))", "one family", 0),
        ("Normal(0, loc=1)", "given twice", 10),
        ("MultivariateNormal([0, 1], [[1, 0], [0]])", "one length", 27),
    ],
)
def test_errors_show_where(text, word, column):
    with pytest.raises(ValueError, match=word) as caught:
        parse(text)
    lines = str(caught.value).splitlines()
    caret = next(i for i, line in enumerate(lines) if line.strip() == "^")
    assert lines[caret - 1].strip() == text
    assert lines[caret].index("^") - 4 == column
    assert all(name in lines[-1] for name in known_names())


VALID = {
    "Bernoulli": {"probs": "0.3"},
    "Beta": {"concentration1": "2", "concentration0": "3"},
    "Binomial": {"total_count": "3", "probs": "0.3"},
    "Categorical": {"probs": "[1, 2]"},
    "Cauchy": {"loc": "0", "scale": "1"},
    "ContinuousBernoulli": {"probs": "0.3"},
    "Dirichlet": {"concentration": "[1, 2]"},
    "Exponential": {"rate": "1"},
    "Gamma": {"concentration": "2", "rate": "3"},
    "Geometric": {"probs": "0.3"},
    "Gumbel": {"loc": "0", "scale": "1"},
    "HalfCauchy": {"scale": "1"},
    "HalfNormal": {"scale": "1"},
    "Kumaraswamy": {"concentration1": "2", "concentration0": "3"},
    "Laplace": {"loc": "0", "scale": "1"},
    "LogNormal": {"loc": "0", "scale": "1"},
    "MultivariateNormal": {"loc": "[0, 1]", "covariance_matrix": "[[2, 1], [1, 2]]"},
    "NegativeBinomial": {"total_count": "3", "probs": "0.3"},
    "Normal": {"loc": "0", "scale": "1"},
    "Pareto": {"scale": "1", "alpha": "2"},
    "Poisson": {"rate": "1"},
    "SkewNormal": {"loc": "0", "scale": "1", "skew": "2"},
    "StudentT": {"df": "3", "loc": "0", "scale": "1"},
    "TruncatedNormal": {"loc": "0", "scale": "1", "low": "0", "high": "1"},
    "Uniform": {"low": "0", "high": "1"},
    "VonMises": {"loc": "0", "concentration": "1"},
    "Weibull": {"scale": "1", "concentration": "2"},
}


def refusal(text):
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None


WRONG = ["-1", "2.5", "inf", "[1, -2]", "[]", "[[1, 2], [3, 1]]"]


@pytest.mark.parametrize("name", [name for name in known_names() if name != "Mixture"])
def test_an_argument_outside_its_domain_is_named(name):
    """In nelbo's words: torch's speak of tensors, constraints and the classes inside of a distribution."""
    for key, wrong in itertools.product(VALID[name], WRONG):
        arguments = VALID[name] | {key: wrong}
        text = f"{name}({', '.join(f'{k}={v}' for k, v in arguments.items())})"
        message = refusal(text)
        assert message is not None or wrong not in ("[]", "[[1, 2], [3, 1]]")
        expected = rf"{name}: ({key} must be an? |low must be less than high, ).*got .+\n"
        assert message is None or re.match(expected, message), message
    assert parse(f"{name}({', '.join(VALID[name].values())})")


@pytest.mark.parametrize(
    ("p", "q", "word"),
    [
        ("Normal(0, 1)", "Normal(0, 1)", "equal"),
        ("Normal(0, 1)", "Normal(3, 1)", "symmetric"),
        ("Normal(0, 1)", "Normal(1, 2)", "KL(q || p) is the larger"),
        ("Uniform(0, 1)", "Uniform(0, 2)", "KL(q || p) is infinite"),
        ("Uniform(0, 1)", "Uniform(2, 3)", "Both are infinite"),
    ],
)
def test_meaning(p, q, word):
    assert word in compare(p, q).meaning


def test_shell_kl_writes_json_and_a_figure(tmp_path, capsys):
    for ending in ("png", "svg", "pdf"):
        kl("Normal(0, 1)", "Normal(1, 2)", plot=tmp_path / f"f.{ending}", json=True)
        data = json.loads(capsys.readouterr().out)
        assert data["kl_p_q"] == {
            "value": pytest.approx(0.4431471805599453),
            "standard_error": 0,
            "method": "closed_form",
        }
    kl("Poisson(3)", "Geometric(0.2)", plot=tmp_path / "g.png")
    assert "KL(p || q)" in capsys.readouterr().out
    assert sorted(f.name for f in tmp_path.iterdir()) == ["f.pdf", "f.png", "f.svg", "g.png"]
    assert (tmp_path / "f.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(ValueError, match=r"\.png"):
        kl("Normal(0, 1)", "Normal(1, 2)", plot=tmp_path / "f.xyz")


def test_shell_infinite_is_valid_json(capsys):
    kl("Uniform(0, 1)", "Uniform(2, 3)", json=True)
    assert json.loads(capsys.readouterr().out)["kl_p_q"]["value"] == "inf"


def test_shell_axioms(capsys):
    axioms("kl", family="Bernoulli", json=True)
    data = json.loads(capsys.readouterr().out)
    assert [v["holds"] for v in data["verdicts"]] == [True, True, False, False]
    axioms("kl", family="Normal", fixed="scale=1")
    assert "symmetry: holds" in capsys.readouterr().out
    with pytest.raises(ValueError, match="loc=0"):
        axioms("kl", fixed="loc")


def mixture_of(n):
    return f"Mixture({' + '.join(f'{i + 1} * Normal({i}, 1)' for i in range(n))})"


def test_expressions_may_be_as_long_as_they_can_be_computed():
    mixture = parse(mixture_of(200))
    assert mixture.component_distribution.loc.tolist() == list(range(200))
    assert mixture.mixture_distribution.probs[0] < mixture.mixture_distribution.probs[-1]
    assert parse(f"Normal({'+'.join(['1'] * 900)}, 1)").loc == 900


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"Normal({'-' * 9_000}1, 1)", "nested too deeply"),
        (f"Normal({'+'.join(['1'] * 9_000)}, 1)", "nested too deeply"),
        (f"Normal({'(' * 300}1{')' * 300}, 1)", "nested"),
        (f"Categorical({'[' * 90}1{']' * 90})", "Categorical: probs must be"),
        ("Mixture(" * 150 + "Normal(0, 1)" + ")" * 150, "a member of a mixture cannot be a mixture"),
        (f"Normal({'1' * 60_000}, 1)", "at most 20,000 characters, got 60,011.*MixtureSameFamily"),
        (mixture_of(201), "at most 200 members here.*MixtureSameFamily.*monte_carlo"),
        (mixture_of(1000), "at most 20,000 characters"),
        ("Mixture(" + " + ".join(["Normal(0, 1)"] * 1000) + ")", "at most 200 members here"),
        ("Normal(0, \0 1)", "null bytes|no text"),
    ],
    ids=range(10),
)
def test_expressions_that_are_too_deep_or_too_long(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(text)
    assert len(str(caught.value)) < 1000
