"""What is tried: whole files, texts and values of JSON, and edits of them."""

import json
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

NUMBERS = [0, 1, -1, 2, 255, 2**31, 2**32 - 1, 2**62, 10**30, 0.5, -0.0, 1e-300, 1e300]
FAMILIES = {
    "Normal": 2, "Laplace": 2, "Cauchy": 2, "StudentT": 3, "Gumbel": 2, "LogNormal": 2, "SkewNormal": 3,
    "TruncatedNormal": 4, "HalfNormal": 1, "HalfCauchy": 1, "Uniform": 2, "Exponential": 1, "Gamma": 2, "Beta": 2,
    "Kumaraswamy": 2, "Weibull": 2, "Pareto": 2, "VonMises": 2, "ContinuousBernoulli": 1, "Bernoulli": 1,
    "Binomial": 2, "Geometric": 1, "NegativeBinomial": 2, "Poisson": 1, "Categorical": 1, "Dirichlet": 1,
    "MultivariateNormal": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """One change of some bytes, at a place between 0 and 1."""

    how: str
    at: float
    value: Any

    def __call__(self, content: bytes) -> bytes:
        start = min(int(self.at * len(content)), max(len(content) - 1, 0))
        if self.how == "cut":
            return content[:start]
        if self.how == "set":
            return content[:start] + self.value + content[start + len(self.value) :]
        if self.how == "insert":
            return content[:start] + self.value + content[start:]
        if self.how == "drop":
            return content[:start] + content[start + len(self.value) :]
        digits = list(re.finditer(rb"-?\d+", content[:4000]))  # "number": another one in its place
        if not digits:
            return content
        old = digits[int(self.at * len(digits)) % len(digits)]
        return content[: old.start()] + str(self.value).encode() + content[old.end() :]


_PLACES = st.floats(0, 1, exclude_max=True)
_BYTES = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.integers(1, 600).map(bytes),
    st.sampled_from(
        [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0", b"\n", b",", b'"', b"{", b"[" * 999, b"-" * 4000]
    ),
)
EDITS = st.lists(
    st.one_of(
        st.builds(Edit, st.sampled_from(["cut", "set", "insert", "drop"]), _PLACES, _BYTES),
        st.builds(Edit, st.just("number"), _PLACES, st.sampled_from(NUMBERS)),
    ),
    min_size=1,
    max_size=3,
)

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(NUMBERS),
        st.integers(-5, 5),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["\ud800", "train", "principal", "decoder", "prior", "..", "/etc/passwd", "nan", "x" * 5000]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=6,
)


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


JSON_OR_DEEP = st.one_of(JSON, st.sampled_from([10, 63, 70, 300]).map(deep))


def replaced(content: Any, place: int, value: Any) -> Any:
    """The content with one of its values replaced, or left out where the value is ``...``."""
    paths: list[tuple[Any, ...]] = []
    left: list[tuple[tuple[Any, ...], Any]] = [((), content)]
    while left:
        path, node = left.pop()
        for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            paths.append((*path, key))
            left.append(((*path, key), child))
    copy = json.loads(json.dumps(content))
    *above, last = sorted(paths, key=repr)[place % len(paths)]
    node = copy
    for key in above:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return copy


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, rows: int = 8) -> bytes:
    """A PNG that claims a size, with valid checksums and a few rows of pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(bytes([0, *range(8)]) for _ in range(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PNGS = st.builds(
    png,
    st.sampled_from([0, 1, 8, 9, 4000, 60_000, 2**31 - 1, 2**32 - 1]),
    st.sampled_from([0, 1, 8, 9, 4000, 60_000, 2**31 - 1, 2**32 - 1]),
    depth=st.sampled_from([1, 8, 16, 77]),
    colour=st.sampled_from([0, 2, 3, 4, 6, 9]),
    rows=st.integers(0, 9),
)

_CELLS = st.one_of(
    st.sampled_from(["", "1", "2.5", "-3", "nan", "inf", "1e400", "x", '"', "'", "é", "\0"]), st.text(max_size=4)
)
CSVS = (
    st.lists(st.lists(_CELLS, min_size=1, max_size=4).map(",".join), max_size=12)
    .map("\n".join)
    .map(lambda text: text.encode(errors="replace"))
)

_VALUES = st.recursive(
    st.one_of(
        st.sampled_from(
            ["0", "1", "2", "0.5", "3", "1e-3", "1e-300", "1e300", "inf", "-inf", "nan", "10**400", "x", "''", "1j"]
        ),
        st.floats(-10, 10).map(repr),
        st.integers(0, 10**12).map(str),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**", "%"]), inner).map("".join),
        inner.map("-{}".format),
        inner.map("({})".format),
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
    ),
    max_leaves=4,
)
_TAME = st.sampled_from(["0", "1", "2", "0.5", "3", "0.1", "20", "1e-3", "1000"])


@st.composite
def _members(draw: Any, name: Any = st.sampled_from(sorted(FAMILIES))) -> str:
    chosen = draw(name)
    values = draw(st.sampled_from([_TAME, _TAME, _TAME, _VALUES]))
    count = FAMILIES[chosen] + draw(st.sampled_from([0] * 12 + [-1, 1]))
    if chosen in ("Categorical", "Dirichlet"):
        values = st.lists(values, min_size=1, max_size=4).map(lambda parts: f"[{', '.join(parts)}]")
    return f"{chosen}({', '.join(draw(values) for _ in range(count))})"


@st.composite
def _mixtures(draw: Any) -> str:
    name = st.just(draw(st.sampled_from(["Normal", "Laplace", "Gamma", "Poisson", "Bernoulli"])))
    member, copies = draw(_members(name)), draw(st.sampled_from([1, 1, 1, 1, 40]))
    others = draw(st.lists(st.tuples(_TAME, _members(name)).map(" * ".join), max_size=3))
    return f"Mixture({' + '.join([*[f'0.5 * {member}'] * copies, *others])})"


@st.composite
def _broken(draw: Any) -> str:
    text = draw(_members()).encode()
    for edit in draw(EDITS):
        text = edit(text)
    return text.decode(errors="replace").replace("\0", " ")


EXPRESSIONS = st.one_of(_members(), _members(), _members(), _mixtures(), _broken())
