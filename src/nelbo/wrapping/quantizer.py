"""The quantizer within a model that is handed over whole: a module that answers with codes and what they stand for.

It is told by what it answers, whole numbers beside floats, and by a codebook that gives the floats back from the
numbers; never by the name of a class.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nelbo.wrapping.answers import Path, leaves, name_of, part, replaced, shown
from nelbo.wrapping.given import Conclusion
from nelbo.wrapping.modules import describe, first_tensor, in_mode, intercepted, without_trace
from nelbo.wrapping.parts import holder_of, runs_of

_INDICES = ("indices", "quantized_indices", "encoding_indices", "min_encoding_indices", "codes", "embed_ind", "tokens")
_LOOKUPS = ("get_output_from_indices", "indices_to_codes", "get_codes_from_indices", "get_codebook_entry")
_SIZES = ("codebook_size", "num_embeddings", "n_e", "n_embed", "num_codes", "codebook_sizes")
_ROUNDING = 1e-3  # relative, of z + (q - z) beside q
_WRITE = (
    "write nelbo.wrap_codes(encode=..., decode=..., codes=K, x=x, likelihood=...), with encode giving the indices of x "
    "and decode taking them"
)

Lookup = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Quantizer:
    """A quantizer within a model.

    Attributes:
        holder: the model.
        module: the quantizer.
        run: runs the whole model on x, and leaves nothing behind in it.
        indices: the place of the codes in the quantizer's answer.
        quantized: the place of what they stand for.
        like: one answer of codes, (n, \\*positions) or (n \\* positions, \\*rest), and n.
        lookup: from such codes to what they stand for.
        codes: the number of codes, one or one for each codebook; None where nothing tells.
        example: (1, \\*event), on which the model is run while others' codes are put in place.
        notes: what was concluded.
    """

    holder: nn.Module
    module: nn.Module
    run: Callable[[Tensor], Any]
    indices: Path
    quantized: Path
    like: tuple[Tensor, int]
    lookup: Lookup
    codes: int | Sequence[int] | None
    example: Tensor
    notes: tuple[Conclusion, ...]

    def encode(self, x: Tensor) -> Tensor:
        """The codes of x, (n, \\*positions)."""
        seen: list[Tensor] = []

        def keep(args: tuple[Any, ...], answer: Any) -> Any:
            seen.append(part(answer, self.indices))
            return answer

        with intercepted(self.module, keep, (self.holder,)):
            self.run(x)
        return _by_row(seen[0], len(x))

    def decode(self, indices: Tensor) -> Any:
        """What the model answers where its quantizer gives these codes, (n, \\*positions)."""
        raw, rows = self.like
        given = indices.reshape(-1, *raw.shape[1:]) if len(raw) != rows else indices
        given = given.to(raw.dtype)

        def put(args: tuple[Any, ...], answer: Any) -> Any:
            return replaced(answer, {self.indices: given, self.quantized: self.lookup(given)})

        weight = first_tensor(self.holder.parameters())
        example = self.example if weight is None else self.example.to(weight.device)
        with intercepted(self.module, put, (self.holder,)):
            return self.run(example.expand(len(indices), *example.shape[1:]))


def _without_trace(holder: nn.Module, run: Callable[[Tensor], Any], x: Tensor) -> Any:
    """What the model answers; a quantizer that counts how often its codes are used does not count this."""
    with without_trace(holder, first=True):
        return run(x)


def _by_row(raw: Tensor, n: int) -> Tensor:
    """Codes as (n, \\*positions): some quantizers give those of all examples in one row."""
    raw = raw if len(raw) == n else raw.reshape(n, -1, *raw.shape[1:])
    return raw if raw.dim() > 1 else raw[:, None]


def quantizer_of(model: Any, x: Tensor) -> Quantizer:
    """Find the quantizer in a model by running it.

    Args:
        model: a module, or an object that holds one.
        x: (batch, \\*event).

    Raises:
        TypeError: there is no module in it.
        ValueError: no module in it answers with codes and what they stand for.
    """
    holder = holder_of(model)
    failures: list[str] = []
    for run in runs_of(holder):
        try:
            calls = _calls(holder, run, x)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
            continue
        for module, answer in calls:
            found = _read(module, answer, len(x))
            if found is not None:
                indices, quantized, lookup, why = found
                raw = part(answer, indices)
                notes = (
                    Conclusion("codes", f"{describe(module)} gives them as part {shown(indices)} of its answer", why),
                    *_other_terms(answer, quantized),
                )
                codes = _number_of_codes(module, lookup, raw)
                quiet = partial(_without_trace, holder, run)
                return Quantizer(
                    holder, module, quiet, indices, quantized, (raw, len(x)), lookup, codes, x[:1].clone(), notes
                )
        raise ValueError(
            f"no module within {describe(holder)} answers with whole numbers, the codes, and with floats that its "
            f"codebook gives back from them; {_WRITE}"
        )
    raise ValueError(f"{describe(holder)} could not be run on x: {failures[0]}; {_WRITE}")


def _calls(holder: nn.Module, run: Callable[[Tensor], Any], x: Tensor) -> list[tuple[nn.Module, Any]]:
    """The modules within that answer with whole numbers and floats, each called once; the outer ones first."""
    seen: list[tuple[nn.Module, Any]] = []

    def listen(module: nn.Module, args: tuple[Any, ...], answer: Any) -> None:
        if leaves(answer, whole=True) and leaves(answer):
            seen.append((module, answer))

    with ExitStack() as undo, torch.no_grad():
        undo.enter_context(without_trace(holder, first=True))
        undo.enter_context(in_mode((holder,), training=False))
        for module in holder.modules():
            if module is not holder:
                undo.callback(module.register_forward_hook(listen).remove)
        run(x)
    times = [sum(module is other for other, _ in seen) for module, _ in seen]
    return [call for call, n in zip(seen, times, strict=True) if n == 1][::-1]


def _read(module: nn.Module, answer: Any, n: int) -> tuple[Path, Path, Lookup, str] | None:
    """The places of codes and of what they stand for, the codebook, and how it is known; None for another module."""
    whole = {path: t for path, t in leaves(answer, whole=True).items() if t.dim() and t.numel() % n == 0}
    whole = {path: t for path, t in whole.items() if len(t) % n == 0 and int(t.min()) >= 0}
    named = [path for path in whole if name_of(answer, path) in _INDICES]
    for indices in named or whole:
        for quantized, given in leaves(answer).items():
            values = given.detach()
            if values.dim() < 2 or len(values) != n:
                continue
            for name, lookup in _lookups(module, whole[indices], values):
                with suppress(Exception), torch.no_grad():  # another project's function, which may take other arguments
                    gap, size = float((lookup(whole[indices]) - values).abs().max()), float(values.abs().max())
                    if gap <= _ROUNDING * size:
                        why = f"{name} gives part {shown(quantized)} back from them, to {gap:.1g} at most"
                        return indices, quantized, lookup, why
    return None


def _lookups(module: nn.Module, raw: Tensor, values: Tensor) -> Iterator[tuple[str, Lookup]]:
    """Candidates for a codebook: tables of vectors, and the functions by which such modules are known."""
    for name in _LOOKUPS:
        function: Any = getattr(module, name, None)
        if function is not None:
            yield f"{name}()", partial(_called, function, values.shape[1:])
    # before its first step, a moving average beside the codebook (embed, embed_avg) equals it
    tables = sorted((*module.named_parameters(), *module.named_buffers()), key=lambda named: len(named[0]))
    for name, table in tables:
        flat = table.detach().squeeze(0)
        if flat.dim() != 2 or not flat.is_floating_point():
            continue
        for transposed in (False, True):
            rows = flat.T if transposed else flat
            if len(rows) > int(raw.max()) and raw.numel() * rows.shape[1] == values.numel():
                for channel in (-1, 1):
                    yield name, _Table(module, name, transposed, channel, values.shape[1:])


@dataclass(frozen=True)
class _Table:
    """Codes looked up in a table of the module, as it is when they are."""

    module: nn.Module
    name: str
    transposed: bool
    channel: int
    shape: torch.Size

    @property
    def table(self) -> Tensor:
        owner, _, name = self.name.rpartition(".")
        table = getattr(self.module.get_submodule(owner), name).squeeze(0)
        return table.T if self.transposed else table

    def __call__(self, raw: Tensor) -> Tensor:
        vectors = F.embedding(raw.long().flatten(), self.table)
        if self.channel == -1:
            return vectors.reshape(-1, *self.shape)
        return vectors.reshape(-1, *self.shape[1:], self.shape[0]).movedim(-1, 1)


def _called(function: Callable[[Tensor], Tensor], shape: torch.Size, raw: Tensor) -> Tensor:
    values = function(raw)
    moved = (values, values.movedim(-1, 1)) if values.dim() > 2 else (values,)
    return next((v for v in moved if v.shape[1:] == shape), values.reshape(-1, *shape))


def _number_of_codes(module: nn.Module, lookup: Lookup, raw: Tensor) -> int | list[int] | None:
    """The number of codes in each codebook, by the table or by what the module says of itself."""
    if isinstance(lookup, _Table):
        return len(lookup.table)
    for part_of in module.modules():  # the module, then what it holds
        for name in _SIZES:
            size = getattr(part_of, name, None)
            if isinstance(size, list | tuple) and len(size) == raw.shape[-1]:  # pyright: ignore[reportUnknownArgumentType]
                return [int(k) for k in size]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            if isinstance(size, int):
                books = [getattr(module, several, None) for several in ("num_quantizers", "num_codebooks")]
                last = raw.shape[-1]
                return [size] * last if last > 1 and last in books and raw.dim() > 1 else size
    return None


def _other_terms(answer: Any, quantized: Path) -> list[Conclusion]:
    """What a quantizer's answer holds of losses, which are no part of a bound."""
    small = [path for path, t in leaves(answer).items() if path != quantized and t.numel() <= _FEW]
    if not small:
        return []
    fact = f"part {', '.join(map(shown, small))} of its answer left out, as commitment and codebook terms are"
    return [Conclusion("loss", fact, "they move the encoder and the codebook, and are no KL")]


_FEW = 64
