"""The scale and the shift that give a model's latents mean 0 and variance 1, as latent diffusion wants them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nelbo import latents
from nelbo.data import Batch, Data, Dataset, as_batch, as_data
from nelbo.devices import check_weights, device_of
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode, rows_at_once
from nelbo.measure.importance import refuse_codes
from nelbo.randomness import example_keys
from nelbo.vae import Model, as_model, at_condition, placed


@dataclass(frozen=True, eq=False)
class LatentScale:
    """Scale and shift of z ~ q(z|x) over N examples: (z - shift) * scaling_factor has mean 0 and variance 1.

    Attributes:
        scaling_factor: 1 / std of all numbers in z, scalar; the ``scaling_factor`` of diffusers' configurations.
        shift: their mean, scalar; ``shift_factor`` there.
        scaling_factor_per_channel: (channels,), 1 / std of the numbers of each channel.
        shift_per_channel: (channels,), their means.
        shape: of one z; the channels come first, and those of a vector are its units.
        examples: N.
    """

    scaling_factor: Estimate
    shift: Estimate
    scaling_factor_per_channel: Estimate
    shift_per_channel: Estimate
    shape: tuple[int, ...]
    examples: int

    def __str__(self) -> str:
        lines = [f"z of shape {self.shape} over {self.examples:,} examples: (z - shift) * scaling_factor"]
        lines += [f"all        scaling_factor {self.scaling_factor.text}  shift {self.shift.text}"]
        lines += [
            f"channel {i + 1:<2} scaling_factor {self.scaling_factor_per_channel[i].text}  "
            f"shift {self.shift_per_channel[i].text}"
            for i in range(self.shape[0])
        ]
        return "\n".join(lines)


def latent_scale(model: Any, data: Any, *, seed: int = 0) -> LatentScale:
    """Scaling factor and shift of the latents over a whole data set, overall and per channel, with standard errors.

    The variance of z ~ q(z|x) over examples and positions is that of the means plus the mean of q's variances, so that
    nothing is drawn where q(z|x) tells both. Standard errors take each example, whose positions are alike, as one.
    The examples pass in batches, of which only sums are kept.

    >>> import torch, nelbo
    >>> vae = nelbo.recipes.vae((6,), latent=2, hidden=(8,))
    >>> scale = nelbo.measure.latent_scale(vae, torch.rand(100, 6))
    >>> scale.scaling_factor_per_channel.value.shape
    torch.Size([2])

    Args:
        model: a model from ``nelbo.wrap``, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        data: (N, \\*event), a Batch, a Dataset, or Data, whose training part is taken, also by its path or name.
        seed: of the draws, where mean and variance of q(z|x) have no closed form, and of a random preparation.

    Returns:
        LatentScale, its Estimates without unit, on the CPU.

    Raises:
        TypeError: z are numbers of codes.
        ValueError: fewer than 2 examples, or a z that does not vary.

    Source: Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models", section G, which takes
    the first batch.
    """
    model = as_model(model)
    check_weights(model)
    refuse_codes(model)
    n, center, sums = 0, torch.empty(0), torch.empty(0)
    shape: tuple[int, ...] = ()
    with evaluation_mode(model, seed):
        for batch in _batches(model, data, seed):
            mean, square, shape = _moments_of(model, batch, seed)
            if not n:  # squares are summed about a value near the mean, so that a large one costs no digits
                center = torch.cat([mean.mean((0, 2)), mean.mean()[None]])
            rows = _per_example(mean, square, center)
            sums = rows.sum(0) + (sums if n else 0)
            n += len(batch)
    if n < 2:
        raise ValueError(f"latent_scale needs 2 or more examples, got {n}; write latent_scale(vae, data.train)")
    a, b, aa, ab, bb = (sums / n).cpu().unbind()
    variance = b - a**2
    if not bool((variance > 0).all()):
        channel = int((variance <= 0).nonzero()[0])
        raise ValueError(
            f"channel {channel} of z does not vary over these examples, so no factor gives it variance 1; pass more "
            "examples, or see nelbo.diagnose(vae, data)"
        )
    std = variance.sqrt()
    spread = (bb - b**2) - 4 * a * (ab - a * b) + 4 * a**2 * (aa - a**2)  # of the squares about the mean, by example
    scale_error = (spread.clamp(min=0) / (n - 1)).sqrt() / (2 * std**3)
    shift_error = ((aa - a**2).clamp(min=0) / (n - 1)).sqrt()
    method = f"over {n:,} examples"
    scale = Estimate(1 / std, scale_error, method, "")
    shift = Estimate(a + center.cpu(), shift_error, method, "")
    return LatentScale(scale[-1], shift[-1], scale[:-1], shift[:-1], shape, n)


def _batches(model: Model, data: Any, seed: int) -> Iterator[Batch]:
    """The examples, prepared and where the model is, as many at a time as memory allows."""
    if isinstance(data, str | Path | Data):
        data = as_data(data).train
    if not isinstance(data, Dataset):
        batch = as_batch(data)
        for part in batch.split(rows_at_once(math.prod(batch.x.shape[1:]), passes=4)):
            yield placed(model, part)
        return
    fixed = data.fixed(seed=seed)
    size = rows_at_once(math.prod(data.event_shape), passes=4)
    for raw in fixed.batches(size, device=device_of(model)):
        yield placed(model, fixed.prepare(raw))


def _moments_of(model: Model, batch: Batch, seed: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """E[z] and Var[z] under q(z|x), (n, channels, positions) float64 on the CPU, and the shape of one z."""
    qz = at_condition(model, batch).posterior(batch.x)
    shape = tuple(getattr(model, "latent_shape", qz.event_shape))
    try:
        mean, variance = qz.mean, qz.variance
    except NotImplementedError:
        keys = example_keys(batch.x, batch.c, seed=seed, purpose="latent scale")
        z = latents.draw(qz, None, keys)
        mean, variance = z, torch.zeros_like(z)
    mean, variance = (part.detach().cpu().double().reshape(len(batch), shape[0], -1) for part in (mean, variance))
    return mean, variance, shape


def _per_example(mean: Tensor, variance: Tensor, center: Tensor) -> Tensor:
    """a, b, a^2, a b, b^2 of the means a of z and b of z^2 about the center, (n, 5, channels + 1); last, of all."""
    by_channel = mean - center[:-1, None]
    overall = mean - center[-1]
    a = torch.cat([by_channel.mean(2), overall.mean((1, 2))[:, None]], 1)
    b = torch.cat([(by_channel**2 + variance).mean(2), (overall**2 + variance).mean((1, 2))[:, None]], 1)
    return torch.stack([a, b, a * a, a * b, b * b], 1)
