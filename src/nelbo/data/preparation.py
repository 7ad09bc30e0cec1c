"""The steps from stored values to what a model sees: one frozen value, recorded with every run."""

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nelbo.data.draws import as_rows, bernoulli_of_bytes, blocks, fixed_uniform

Binarize = Literal["dynamic", "static", "threshold"]
_WIDE = (torch.float64, torch.int64, torch.int32)  # types that float32 cannot hold exactly


def whole_inverse(scale: float) -> int | None:
    """K where scale is 1/K: dividing by K is exact at raw = K, multiplying by a rounded 1/K need not be."""
    top = round(1 / scale) if scale else 0
    return top if top >= 1 and math.isclose(1 / scale, top, rel_tol=1e-12) else None


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """x = ((raw + u) * scale - mean) / std, then binarized: how stored values become what the model sees.

    Args:
        scale: factor on the stored values; 1/K divides by K exactly.
        binarize: ``"dynamic"``: a fresh x ~ Bernoulli(raw * scale) at every visit; ``"static"``: drawn once when the
            data were loaded, so that the stored values are 0 and 1 already; ``"threshold"``: x = 1 where raw * scale >
            0.5.
        dequantize: adds u ~ U[0, 1), fresh at every visit, to integers (Theis et al. 2016, eq. 6).
        mean: per feature of a vector, per channel of an image; of the training set.
        std: likewise; 1 where a feature is constant.

    >>> Preparation(scale=1 / 255)(torch.tensor([[0, 255]], dtype=torch.uint8))
    tensor([[0., 1.]])
    """

    scale: float = 1.0
    binarize: Binarize | None = None
    dequantize: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(
                f"scale must be positive and finite, got {self.scale}; write scale=1 to leave values as they are"
            )
        if self.binarize not in (None, *get_args(Binarize)):
            raise ValueError(
                "binarize must be None, 'dynamic' (a fresh draw each visit), 'static' (one draw by seed) or "
                f"'threshold' (at 0.5), got {self.binarize!r}"
            )
        if self.binarize and (self.dequantize or self.mean is not None):
            other = "dequantize" if self.dequantize else "standardize"
            raise ValueError(
                f"binarize={self.binarize!r} and {other}=True exclude each other: binarized values are 0 and 1; drop "
                "one of them"
            )
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std must be given together, with one number each per feature or channel")
        if self.std is not None and not all(s > 0 and math.isfinite(s) for s in self.std):
            raise ValueError("every std must be positive and finite; a constant feature has std 1")

    @property
    def is_random(self) -> bool:
        """Whether two visits to an example may differ."""
        return self.dequantize or self.binarize == "dynamic"

    def __call__(self, raw: Tensor) -> Tensor:
        """Prepare stored values.

        Args:
            raw: (batch, *event), as stored. Random draws come from torch's global generator of raw's device.

        Returns:
            x: (batch, *event) float32, on raw's device.
        """
        if self.binarize == "dynamic":
            # only on a CPU are random bytes the bottleneck; an accelerator draws a float in the same kernel
            if raw.dtype == torch.uint8 and whole_inverse(self.scale) == 255 and raw.device.type == "cpu":
                return bernoulli_of_bytes(raw)
            return torch.bernoulli(self._scaled(raw))
        if self.binarize == "threshold":
            ones = torch.empty(raw.shape, dtype=torch.float32, device=raw.device)
            return torch.gt(raw, self._half(raw), out=ones)  # 4 times as fast as by way of bool
        if self.dequantize:
            raw = _add_within(raw, torch.rand(raw.shape, device=raw.device, dtype=torch.float32))
        return self._affine(raw)

    def draw(self, raw: Tensor, *, rows: Sequence[int] | Tensor, seed: int = 0, stream: int = 0) -> Tensor:
        """Make one fixed draw, a function of (seed, stream, row, feature), for `drawn` to prepare.

        ``prep.drawn(prep.draw(raw, rows=rows))`` is the repeatable counterpart of ``prep(raw)``; torch's
        generators are neither read nor moved. Values that need no draw come back as they are.

        Args:
            raw: (batch, *event), as stored.
            rows: (batch,) the number of each example.
            seed: another seed, another draw.
            stream: keeps the draws of training, validation and test sets apart.

        Returns:
            (batch, *event): uint8 0 and 1 where binarized, float32 raw + u where dequantized.
        """
        if not self.is_random:
            return raw
        numbers = as_rows(rows)
        stored = raw.cpu()
        out = torch.empty(raw.shape, dtype=torch.float32 if self.dequantize else torch.uint8)
        features = math.prod(raw.shape[1:])
        for part in blocks(numbers, features):
            u = torch.from_numpy(fixed_uniform(numbers[part], features, seed=seed, stream=stream))
            u = u.view(-1, *raw.shape[1:])
            if self.dequantize:
                out[part] = _add_within(stored[part], u)
            else:
                out[part] = u < self._scaled(stored[part].to(torch.float64))
        return out.to(raw.device)

    def inverse(self, x: Tensor) -> Tensor:
        """Values in the units in which they are stored, from those that a model sees or returns.

        ``prep.inverse(prep(raw))`` is raw but for rounding; what was dequantized comes back as whole numbers, and
        binarized values stay 0 and 1, or the probabilities of 1.

        Args:
            x: (batch, \\*event).

        Returns:
            (batch, \\*event) float64, on the CPU.

        >>> Preparation(mean=(10.0, 0.0), std=(2.0, 1.0)).inverse(torch.tensor([[1.0, 3.0]]))
        tensor([[12.,  3.]], dtype=torch.float64)
        """
        raw = x.detach().cpu().double()  # of an accelerator too, some of which have no float64
        if self.binarize:
            return raw
        if self.mean is not None and self.std is not None:
            shape = (-1, *(1,) * (x.ndim - 2))
            raw = raw * _column(self.std, shape) + _column(self.mean, shape)
        top = whole_inverse(self.scale)
        raw = raw / self.scale if top is None else raw * top
        return raw.floor() if self.dequantize else raw

    @property
    def drawn(self) -> "Preparation":
        """The preparation of values that `draw` returned."""
        if self.binarize == "dynamic":
            return Preparation(binarize="static")
        return replace(self, dequantize=False)

    def log_jacobian(self, event_shape: tuple[int, ...]) -> float:
        """Log |dx / d raw| of one example, in nats: log p(raw) = log p(x) + log_jacobian, for densities.

        Add it before a model of scaled or standardized values is compared with one of the raw values.

        Raises:
            ValueError: the data are binarized, and have no density.
        """
        if self.binarize:
            raise ValueError("binarized values have no density; their log-probabilities are comparable as they are")
        total = math.prod(event_shape) * math.log(self.scale)
        if self.std is not None:
            total -= math.prod(event_shape) / len(self.std) * math.fsum(map(math.log, self.std))
        return total

    def _scaled(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            x = x.to(torch.float32)
        if self.scale == 1.0:
            return x
        top = whole_inverse(self.scale)
        return x * self.scale if top is None else x / top

    def _half(self, raw: Tensor) -> float:
        half = 0.5 / self.scale
        return half if raw.is_floating_point() else math.floor(half + 1e-9)

    def _affine(self, raw: Tensor) -> Tensor:
        if self.mean is None:
            return self._scaled(raw).to(torch.float32)
        # years in seconds or cells in the millions lose their differences in float32 before the mean is taken off
        x = self._scaled(raw.to(torch.float64 if raw.dtype in _WIDE else torch.float32))
        key = (x.device, x.dtype, x.ndim)
        if key not in self._shifts:
            shape = (-1, *(1,) * (x.ndim - 2))
            mean, std = (torch.tensor(v, device=x.device, dtype=x.dtype).view(shape) for v in (self.mean, self.std))
            self._shifts[key] = (mean, std)
        mean, std = self._shifts[key]
        return ((x - mean) / std).to(torch.float32)

    @functools.cached_property
    def _shifts(self) -> dict[Any, tuple[Tensor, Tensor]]:
        """Mean and standard deviation as tensors, by device, dtype and axes: to hash them for each batch takes long."""
        return {}

    @property
    def sentence(self) -> str:
        """The preparation in one sentence."""
        steps: list[str] = []
        if self.dequantize:
            steps.append("uniform noise in [0, 1) is added afresh at each visit")
        top = whole_inverse(self.scale)
        if self.scale != 1.0:
            steps.append(f"values are divided by {top}" if top else f"values are multiplied by {self.scale:g}")
        if self.mean is not None:
            steps.append("values are standardized by mean and standard deviation of the training set")
        if self.binarize:
            how = {
                "dynamic": "each visit draws 0 or 1 with the value as probability",
                "static": "values were drawn once as 0 or 1, when the data were loaded",
                "threshold": "values above 0.5 become 1, others 0",
            }
            steps.append(how[self.binarize])
        text = ", then ".join(steps) if steps else "values are used as stored"
        return f"{text[0].upper()}{text[1:]}."

    def __str__(self) -> str:
        return self.sentence

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Preparation":
        """The preparation that `to_dict` wrote; unknown fields are an error."""
        names = {f.name for f in fields(cls)}
        if extra := sorted(set(saved) - names):
            raise ValueError(f"a saved preparation must hold only {', '.join(sorted(names))}, got {', '.join(extra)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
        return cls(**values)


def _column(values: tuple[float, ...], shape: tuple[int, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(shape)


def _add_within(raw: Tensor, u: Tensor) -> Tensor:
    """Float32 raw + u, kept below raw + 1, which rounding would reach (255 + u once in 130,000 draws)."""
    x = raw.to(torch.float32)
    return torch.minimum(x + u.to(torch.float32), torch.nextafter(x + 1, x))
