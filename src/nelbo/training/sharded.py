"""Training steps on a batch that is cut into pieces, whose gradients are added along a fixed tree.

The weights depend on the number of pieces, and not on how many processes computed them: any number that divides it may
go on where another one stopped.
"""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from nelbo.data import Batch
from nelbo.data.dataset import Lane
from nelbo.likelihoods import Likelihood
from nelbo.randomness import derive, own_randomness, seed_noise
from nelbo.training.step import Updates
from nelbo.workers import ALONE


@final
@dataclass
class ShardedUpdates(Updates):
    """Updates by the sum of the gradients of a batch's pieces, each of which has its own noise.

    What an objective compares within a batch (an aggregate posterior, the distances of a kernel, free bits), it
    compares within a piece. A closed-form sigma is that of the whole batch. What a network of one's own counts, as
    BatchNorm does, it counts in the first piece.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._unit = self.joined
        if self.settings.compile:
            self.not_compiled = "the pieces of a batch are added between processes"
            self.compile_networks()
        family = self.model.px_family
        self.step.optima = []
        self._has_optimum = type(family).optimum is not Likelihood.optimum
        self._optimum: Tensor | None = None  # the latest one, whose shape all have
        ours = {id(buffer) for buffer in family.buffers()}
        self._counters = [buffer for buffer in self.model.buffers() if id(buffer) not in ours]

    def batches(self) -> Iterator[Batch]:
        position, settings = self.state.position, self.settings
        return self.data.batches(
            settings.batch_size,
            order=self.data.order_of(position.epoch, seed=settings.seed),
            start=position.batch,
            device=self.device,
            lanes=settings.shards,
            taken=self.workers.share(settings.shards),
        )

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        before, self.workers = self.workers, ALONE
        try:
            yield
        finally:
            self.workers = before

    def differentiate(self, raw: Batch, *, watched: bool = False) -> Tensor:
        shards, sizes = self.settings.shards, self._sizes()
        own = self.workers.share(shards)
        pieces = dict(zip(own, raw.cut([sizes[piece] for piece in own]), strict=True))
        before = [buffer.clone() for buffer in self._counters]
        after = before
        numbers: dict[int, Tensor] = {}

        def gradient(piece: int) -> Tensor:
            nonlocal after
            for buffer, value in zip(self._counters, before, strict=True):
                buffer.copy_(value)
            flat, found = self._of_piece(piece, pieces[piece], watched=watched)
            counted = False
            if piece == 0:
                after = [buffer.clone() for buffer in self._counters]
                counted = not all(map(torch.equal, before, after))
            numbers[piece] = torch.cat([found, found.new_full((1,), float(counted))])
            return flat

        total = self.workers.sum_over(shards, gradient)
        sums = self.workers.sum_over(shards, numbers.__getitem__) / sum(sizes)
        for buffer, value in zip(self._counters, after, strict=True):
            buffer.copy_(value)
        *_, counted = sums
        if counted:  # by the first process, which has the first piece
            self.workers.align(self._counters)
        parts = total.div_(sum(sizes)).split([parameter.numel() for parameter in self.parameters])
        loss, terms, reached, optimum = sums[:-1].split([1, len(self.state.totals), len(parts), self._optimum_size])
        for parameter, part, times in zip(self.parameters, parts, reached.tolist(), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype) if times else None
        self.state.totals.add_(terms * sum(sizes))
        if self._optimum is not None:
            self.model.px_family.adapt(optimum.reshape(self._optimum.shape).to(self._optimum.dtype))
        return loss[0]

    def _sizes(self) -> list[int]:
        """Examples of each piece in the step that has begun; the last ones of an epoch may have fewer, or none."""
        each = self.settings.batch_size // self.settings.shards
        done = self.state.position.batch * each
        lanes = (Lane(piece, self.settings.shards).within(len(self.data)) for piece in range(self.settings.shards))
        return [max(0, min(each, last - first - done)) for first, last in lanes]

    def _of_piece(self, piece: int, raw: Batch, *, watched: bool) -> tuple[Tensor, Tensor]:
        """The gradient in one vector; and loss, terms, what was reached by a gradient and the optimum, all summed."""
        wide = self.state.totals.dtype
        if not len(raw):
            flat = sum(parameter.numel() for parameter in self.parameters)
            numbers = 1 + len(self.state.totals) + len(self.parameters) + self._optimum_size
            return torch.zeros(flat, dtype=self.dtype, device=self.device), torch.zeros(
                numbers, dtype=wide, device=self.device
            )
        seed_noise(self.device, derive(self.settings.seed, "noise", self.state.position.step, piece))
        loss, terms = self.backward(raw, torch.sum, watched=watched)
        reached = [0.0 if parameter.grad is None else 1.0 for parameter in self.parameters]
        numbers = [loss.to(wide)[None], terms, torch.tensor(reached, dtype=wide, device=self.device)]
        if self.step.optima:
            self._optimum = self.step.optima[-1]
            self.step.optima.clear()
            numbers.append(self._optimum.flatten().to(wide) * len(raw))
        gradients = [
            (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).flatten()
            for parameter in self.parameters
        ]
        return torch.cat(gradients), torch.cat(numbers)

    @property
    def _optimum_size(self) -> int:
        """Numbers in an optimum, which a process may have to know before it has seen an example."""
        if self._has_optimum and self._optimum is None:
            with own_randomness(self.device), torch.no_grad():
                some = self.data.examples(min(2, len(self.data))).to(self.device, self.dtype)
                self.step(some)
            self._optimum = next(iter(self.step.optima or ()), None)
            self._has_optimum = self._optimum is not None
            self.step.optima = []
        return 0 if self._optimum is None else self._optimum.numel()
