"""Distributions from text such as "Normal(0, 1)": parsed, never evaluated as code."""

import ast
import inspect
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions import Distribution

from nelbo.divergences.distributions import SkewNormal, TruncatedNormal

_TYPES: dict[str, Any] = {
    t.__name__: t
    for t in (
        *(D.Normal, D.Laplace, D.Cauchy, D.StudentT, D.Gumbel, D.LogNormal, SkewNormal, TruncatedNormal, D.HalfNormal),
        *(D.HalfCauchy, D.Uniform, D.Exponential, D.Gamma, D.Beta, D.Kumaraswamy, D.Weibull, D.Pareto, D.VonMises),
        *(D.ContinuousBernoulli, D.Bernoulli, D.Binomial, D.Geometric, D.NegativeBinomial, D.Poisson, D.Categorical),
        *(D.Dirichlet, D.MultivariateNormal),
    )
}
# other ways to write the same parameters, and options
_SKIPPED = {"logits", "lims", "precision_matrix", "scale_tril", "validate_args"}
_EXAMPLE = "Normal(0, 1), StudentT(df=3), Mixture(0.3 * Normal(0, 1) + 0.7 * Normal(3, 0.5))"


def _parameters(kind: Any) -> dict[str, float | None]:
    """The names of a distribution's parameters with their defaults, None for those without."""
    signature = inspect.signature(kind).parameters.values()
    return {
        p.name: p.default if isinstance(p.default, int | float) else None for p in signature if p.name not in _SKIPPED
    }


def known_names() -> list[str]:
    """The distributions that an expression may name."""
    return sorted([*_TYPES, "Mixture"])


def parse(text: str) -> Distribution:
    """Read a distribution from a text such as "Normal(0, 1)", with float64 parameters.

    Numbers may be signed and combined with + - * / and **; vectors are lists; Mixture(w1 * A(...) + w2 * B(...)) mixes
    members of one family. Nothing else is understood, and nothing is ever run.

    Args:
        text: the expression.

    Raises:
        ValueError: with a caret under what is wrong and the list of distributions.
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
        if name not in _TYPES:
            self.wrong(node, f"{name} is not one of the distributions")
        make, defaults = _TYPES[name], _parameters(_TYPES[name])
        values = self.arguments(node, name, tuple(defaults))
        for key, default in defaults.items():
            if key not in values and default is not None:
                values[key] = torch.tensor(default, dtype=torch.float64)
        missing = [key for key in defaults if key not in values]
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
        kind: Any = type(members[0])
        if kind not in _TYPES.values() or members[0].event_shape or members[0].batch_shape:
            self.wrong(node, "a mixture needs plain univariate members")
        columns = {key: torch.stack([getattr(d, key) for d in members]) for key in _parameters(kind)}
        return D.MixtureSameFamily(D.Categorical(torch.tensor(weights, dtype=torch.float64)), kind(**columns))

    def addends(self, node: ast.expr) -> list[tuple[float, Distribution]]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.addends(node.left) + self.addends(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return [(self.number(node.left), self.distribution(node.right))]
        return [(1.0, self.distribution(node))]
