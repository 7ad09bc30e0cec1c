"""Distributions from text such as "Normal(0, 1)": parsed, never evaluated as code."""

import ast
import inspect
import math
import operator
import re
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions import Distribution, constraints

from nelbo.divergences.distributions import SkewNormal, TruncatedNormal
from nelbo.divergences.supports import in_words

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
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_MOST_CHARACTERS = 20_000
_MOST_MEMBERS = 200  # of a mixture: some seconds; the time grows with the square of their number
_LARGER = (
    "a larger distribution is built in Python, as in nelbo.kl(torch.distributions.MixtureSameFamily(weights, members), "
    "q, method='monte_carlo')"
)
_SHOWN = 160  # of them in a message
_EXAMPLE = "Normal(0, 1), StudentT(df=3), Mixture(0.3 * Normal(0, 1) + 0.7 * Normal(3, 0.5))"


def _parameters(kind: Any) -> dict[str, float | None]:
    """The names of a distribution's parameters with their defaults, None for those without."""
    signature = inspect.signature(kind).parameters.values()
    return {
        p.name: p.default if isinstance(p.default, int | float) else None for p in signature if p.name not in _SKIPPED
    }


def _domain(kind: Any, key: str) -> Any:
    """The constraint on a parameter by itself; the two ends of an interval constrain each other."""
    declared = kind.arg_constraints if isinstance(kind.arg_constraints, dict) else {}
    return constraints.real if constraints.is_dependent(declared.get(key, constraints.dependent)) else declared[key]


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
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(
            f"an expression of a distribution must have at most {_MOST_CHARACTERS:,} characters, got {len(text):,}; "
            f"{_LARGER}"
        )
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        _wrong(text, (error.offset or 1) - 1, error.msg)
    except ValueError:  # a byte of 0
        _wrong(text, max(0, text.find("\0")), "this is no text")
    except (RecursionError, MemoryError):  # what the parser of Python says when its stack is full
        _wrong(text, 0, "this is nested too deeply")
    return _Reader(text).distribution(tree.body)


def _wrong(text: str, column: int, what: str) -> NoReturn:
    first = max(0, column - _SHOWN // 2)
    part = text[first : first + _SHOWN]
    before, after = "..." if first else "", "..." if first + _SHOWN < len(text) else ""
    part, place = re.sub(r"\s", " ", f"{before}{part}{after}"), " " * max(0, len(before) + column - first)
    raise ValueError(
        f"{what}\n    {part}\n    {place}^\nexpected something like {_EXAMPLE}; the distributions are "
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
        given = {key: torch.tensor(x, dtype=torch.float64) for key, x in defaults.items() if x is not None}
        values = given | values
        missing = [key for key in defaults if key not in values]
        if missing:
            self.wrong(node, f"{name} also needs {' and '.join(missing)}")
        if "low" in values and not values["low"] < values["high"]:
            low, high = float(values["low"]), float(values["high"])
            self.wrong(node, f"{name}: low must be less than high, got low={low:g} and high={high:g}")
        if "covariance_matrix" in values and len(values["covariance_matrix"]) != len(values["loc"]):
            n, got = len(values["loc"]), tuple(values["covariance_matrix"].shape)
            self.wrong(node, f"{name}: covariance_matrix must have the shape {(n, n)} for a loc of {n}, got {got}")
        return make(**values, validate_args=True)

    def arguments(self, node: ast.Call, name: str, names: tuple[str, ...]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for i, argument in enumerate(node.args):
            if i >= len(names):
                self.wrong(argument, f"{name} takes {len(names)} parameters: {', '.join(names)}")
            values[names[i]] = self.argument(argument, name, names[i])
        for keyword in node.keywords:
            if keyword.arg not in names:
                self.wrong(keyword, f"{name} has no parameter {keyword.arg!r}; it has {', '.join(names)}")
            if keyword.arg in values:
                self.wrong(keyword, f"{keyword.arg} is given twice")
            values[keyword.arg] = self.argument(keyword.value, name, keyword.arg)
        return values

    def argument(self, node: ast.expr, name: str, key: str) -> Tensor:
        value, kind = self.tensor(node), _TYPES[name]
        domain = _domain(kind, key)
        expected, good = in_words(domain), value.dim() == domain.event_dim and value.numel() > 0
        if good and not (kind is TruncatedNormal and key in ("low", "high")):
            # masses are given up to a factor
            proportions = value / value.sum() if domain is constraints.simplex else value
            good = bool(value.isfinite().all() and domain.check(proportions).all())
        if kind is D.Geometric:  # its constraint admits 0, and its constructor does not
            expected, good = "a finite number greater than 0 and at most 1", good and bool(value > 0)
        if not good:
            self.wrong(node, f"{name}: {key} must be {expected}, got {value.tolist()}")
        return value

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
        # each operator before its operands, without recursion: a sum of a thousand numbers is a thousand deep
        order: list[ast.expr] = []
        left = [node]
        while left:
            order.append(at := left.pop())
            if isinstance(at, ast.UnaryOp):
                left.append(at.operand)
            elif isinstance(at, ast.BinOp):
                left += [at.left, at.right]
        numbers: list[float] = []
        for at in reversed(order):
            operands = 2 if isinstance(at, ast.BinOp) else 1 if isinstance(at, ast.UnaryOp) else 0
            numbers, of = numbers[: len(numbers) - operands], numbers[len(numbers) - operands :]
            numbers.append(self.result(at, of))
        return numbers[0]

    def result(self, node: ast.expr, operands: list[float]) -> float:
        """Of one operator, or of a number by itself."""
        try:
            if isinstance(node, ast.Constant) and type(node.value) in (int, float):
                return float(node.value)  # pyright: ignore[reportArgumentType]
            if isinstance(node, ast.Name) and node.id == "inf":
                return math.inf
            if isinstance(node, ast.UnaryOp | ast.BinOp) and type(node.op) in _OPERATORS:
                value = _OPERATORS[type(node.op)](*operands)
                if isinstance(value, float):  # a root of a negative number is not
                    return value
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
        if not all(0 < weight < math.inf for weight in weights):
            self.wrong(node, f"the weights of a mixture must be finite numbers greater than 0, got {weights}")
        kind: Any = type(members[0])
        if kind not in _TYPES.values() or members[0].event_shape or members[0].batch_shape:
            self.wrong(node, "a mixture needs plain univariate members")
        columns = {key: torch.stack([getattr(d, key) for d in members]) for key in _parameters(kind)}
        return D.MixtureSameFamily(D.Categorical(torch.tensor(weights, dtype=torch.float64)), kind(**columns))

    def addends(self, node: ast.expr) -> list[tuple[float, Distribution]]:
        parts: list[tuple[float, Distribution]] = []
        first = node
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            if len(parts) == _MOST_MEMBERS - 1:
                self.wrong(first, f"a mixture must have at most {_MOST_MEMBERS} members here; {_LARGER}")
            parts.append(self.addend(node.right))
            node = node.left
        return [*reversed([*parts, self.addend(node)])]

    def addend(self, node: ast.expr) -> tuple[float, Distribution]:
        weight, member = None, node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            weight, member = node.left, node.right
        if isinstance(member, ast.Call) and isinstance(member.func, ast.Name) and member.func.id == "Mixture":
            self.wrong(member, "a member of a mixture cannot be a mixture")
        return 1.0 if weight is None else self.number(weight), self.distribution(member)
