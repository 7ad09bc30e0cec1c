"""Distributions from text such as "Normal(0, 1)": parsed, never evaluated as code."""

import ast
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions import Distribution

from nelbo.divergences.distributions import TruncatedNormal

_PLAIN: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "Normal": (D.Normal, ("loc", "scale")),
    "Laplace": (D.Laplace, ("loc", "scale")),
    "Cauchy": (D.Cauchy, ("loc", "scale")),
    "StudentT": (D.StudentT, ("df", "loc", "scale")),
    "Gumbel": (D.Gumbel, ("loc", "scale")),
    "LogNormal": (D.LogNormal, ("loc", "scale")),
    "TruncatedNormal": (TruncatedNormal, ("loc", "scale", "low", "high")),
    "HalfNormal": (D.HalfNormal, ("scale",)),
    "HalfCauchy": (D.HalfCauchy, ("scale",)),
    "Uniform": (D.Uniform, ("low", "high")),
    "Exponential": (D.Exponential, ("rate",)),
    "Gamma": (D.Gamma, ("concentration", "rate")),
    "Beta": (D.Beta, ("concentration1", "concentration0")),
    "Kumaraswamy": (D.Kumaraswamy, ("concentration1", "concentration0")),
    "Weibull": (D.Weibull, ("scale", "concentration")),
    "Pareto": (D.Pareto, ("scale", "alpha")),
    "VonMises": (D.VonMises, ("loc", "concentration")),
    "ContinuousBernoulli": (D.ContinuousBernoulli, ("probs",)),
    "Bernoulli": (D.Bernoulli, ("probs",)),
    "Binomial": (D.Binomial, ("total_count", "probs")),
    "Geometric": (D.Geometric, ("probs",)),
    "NegativeBinomial": (D.NegativeBinomial, ("total_count", "probs")),
    "Poisson": (D.Poisson, ("rate",)),
    "Categorical": (D.Categorical, ("probs",)),
    "Dirichlet": (D.Dirichlet, ("concentration",)),
    "MultivariateNormal": (D.MultivariateNormal, ("loc", "covariance_matrix")),
}
_DEFAULTS: dict[str, dict[str, float]] = {
    "StudentT": {"loc": 0.0, "scale": 1.0},
    "TruncatedNormal": {"low": -float("inf"), "high": float("inf")},
}
_EXAMPLE = "Normal(0, 1), StudentT(df=3), Mixture(0.3 * Normal(0, 1) + 0.7 * Normal(3, 0.5))"


def known_names() -> list[str]:
    """The distributions that an expression may name."""
    return sorted([*_PLAIN, "Mixture"])


def parse(text: str) -> Distribution:
    """Read a distribution from a text such as "Normal(0, 1)", with float64 parameters.

    Numbers may be signed and combined with + - * / and **; vectors are lists; Mixture(w1 * A(...) + w2 * B(...)) mixes
    members of one family. Nothing else is understood, and nothing is ever run.

    Args:
        text: the expression.

    Raises:
        ValueError: with a caret under what is wrong and the list of distributions known.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        _wrong(text.strip(), (error.offset or 1) - 1, error.msg)
    return _Reader(text.strip()).distribution(tree.body)


def _wrong(text: str, column: int, what: str) -> NoReturn:
    raise ValueError(
        f"{what}\n    {text}\n    {' ' * max(0, column)}^\nexpected something like {_EXAMPLE}; the distributions are "
        f"{', '.join(known_names())}."
    )


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def wrong(self, node: ast.AST, what: str) -> NoReturn:
        column: Any = getattr(node, "col_offset", 0)
        _wrong(self.text, len(self.text.encode()[:column].decode(errors="ignore")), what)

    def distribution(self, node: ast.expr) -> Distribution:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            self.wrong(node, "this is not a distribution")
        name = node.func.id
        if name == "Mixture":
            return self.mixture(node)
        if name not in _PLAIN:
            self.wrong(node, f"{name} is not a distribution known here")
        make, names = _PLAIN[name]
        values = self.arguments(node, name, names)
        for key, value in _DEFAULTS.get(name, {}).items():
            values.setdefault(key, torch.tensor(value, dtype=torch.float64))
        missing = [key for key in names if key not in values]
        if missing:
            self.wrong(node, f"{name} also needs {' and '.join(missing)}")
        try:
            return make(**values, validate_args=True)
        except ValueError as error:
            message = f"{name} does not accept these parameters: {str(error).splitlines()[0]}"
        self.wrong(node, message)

    def arguments(self, node: ast.Call, name: str, names: tuple[str, ...]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for i, argument in enumerate(node.args):
            if i >= len(names):
                self.wrong(argument, f"{name} takes {len(names)} parameters: {', '.join(names)}")
            values[names[i]] = self.tensor(argument)
        for keyword in node.keywords:
            if keyword.arg not in names:
                self.wrong(keyword, f"{name} has no parameter {keyword.arg!r}; it has {', '.join(names)}")
            if keyword.arg in values:
                self.wrong(keyword, f"{keyword.arg} is given twice")
            values[keyword.arg] = self.tensor(keyword.value)
        return values

    def tensor(self, node: ast.expr) -> Tensor:
        value = self.value(node)
        try:
            return torch.tensor(value, dtype=torch.float64)
        except (ValueError, TypeError):
            self.wrong(node, "the rows of a matrix must be of one length")

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.List | ast.Tuple):
            return [self.value(item) for item in node.elts]
        return self.number(node)

    def number(self, node: ast.expr) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return float(node.value)
        if isinstance(node, ast.Name) and node.id == "inf":
            return float("inf")
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner = self.number(node.operand)
            return -inner if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.BinOp):
            a, b = self.number(node.left), self.number(node.right)
            try:
                if isinstance(node.op, ast.Add):
                    return a + b
                if isinstance(node.op, ast.Sub):
                    return a - b
                if isinstance(node.op, ast.Mult):
                    return a * b
                if isinstance(node.op, ast.Div):
                    return a / b
                if isinstance(node.op, ast.Pow) and a >= 0:
                    return float(a**b)
            except (ZeroDivisionError, OverflowError):
                self.wrong(node, "this is not a finite number")
        self.wrong(node, "this is not a number")

    def mixture(self, node: ast.Call) -> Distribution:
        if len(node.args) != 1 or node.keywords:
            self.wrong(node, "Mixture takes one sum of weighted distributions")
        parts = self.addends(node.args[0])
        weights = [w for w, _ in parts]
        members = [d for _, d in parts]
        kinds = {type(d) for d in members}
        if len(kinds) > 1:
            self.wrong(
                node, f"members of a mixture must be of one family, got {', '.join(sorted(k.__name__ for k in kinds))}"
            )
        if min(weights) <= 0:
            self.wrong(node, "the weights of a mixture must be positive")
        name = next((n for n, (make, _) in _PLAIN.items() if make is type(members[0])), None)
        if name is None or members[0].event_shape or members[0].batch_shape:
            self.wrong(node, "a mixture needs plain univariate members")
        make, names = _PLAIN[name]
        columns = {key: torch.stack([getattr(d, key) for d in members]) for key in names}
        return D.MixtureSameFamily(D.Categorical(torch.tensor(weights, dtype=torch.float64)), make(**columns))

    def addends(self, node: ast.expr) -> list[tuple[float, Distribution]]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.addends(node.left) + self.addends(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return [(self.number(node.left), self.distribution(node.right))]
        return [(1.0, self.distribution(node))]
