"""The one module that knows devices: which one to take, what it computes with, and how much still fits on it.

Everything else asks a tensor where it lies and computes there. Accelerators are reached through ``torch.accelerator``
and ``torch.get_device_module``, whatever their kind; a test keeps their names out of all other modules.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

CPU = torch.device("cpu")
KINDS = ("cuda", "mps", "xpu")
"""Of accelerators, as users name them; others that torch knows do as well."""
_FUSED_ADAM = ("cpu", "cuda", "mps")  # torch has the kernel on others too, but nobody has compared its digits
_PINS = ("cuda",)
_GRAPH = "CUDAGraph"  # others have one too, but nobody has compared its digits
_WITHOUT_FLOAT64 = ("mps",)  # Metal
_TF32 = ("cuda",)  # others have it too, but another switch for it


def accelerator() -> torch.device | None:
    """The accelerator that torch computes on, with its index; None where there is none."""
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if kind is None else indexed(kind)


def indexed(device: torch.device) -> torch.device:
    """The device as its tensors name it: with the index of the current one where it has none."""
    if device.type == "cpu" or device.index is not None:  # pyright: ignore[reportUnnecessaryComparison]
        return device
    return torch.device(device.type, torch.accelerator.current_device_index())


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device of that name; ``"auto"``, or None, is the accelerator where there is one, else the CPU.

    Raises:
        ValueError: there is no such device, or not on this machine.
    """
    found = accelerator()
    if device is None or device == "auto":
        return found or CPU
    count = 0 if found is None else torch.accelerator.device_count()
    kind = "cpu" if found is None else found.type
    names = ", ".join(map(repr, [*(f"{kind}:{i}" for i in range(count)), *([kind] if count else []), "cpu"]))
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be 'auto' or one of {names}, got {device!r}") from error
    if chosen.type not in ("cpu", kind) or (chosen.index or 0) >= max(1, count if chosen.type == kind else 1):
        raise ValueError(f"device={str(device)!r} is not on this machine; write device='auto', or one of {names}")
    return CPU if chosen.type == "cpu" else indexed(chosen)


def take_one(number: int) -> None:
    """Make one of several accelerators this process's own, by its number among the processes of the machine."""
    if accelerator() is not None:
        torch.accelerator.set_device_index(number % torch.accelerator.device_count())


def device_of(model: Any) -> torch.device | None:
    """Where a model's weights, or else its buffers, lie; None where that cannot be seen."""
    if not isinstance(model, nn.Module):
        return None
    return next((tensor.device for part in (model.parameters(), model.buffers()) for tensor in part), None)


def check_weights(model: nn.Module) -> None:
    """Raise a ValueError where weights have shapes and no values, as those of torch's meta device."""
    lacking = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if tensor.is_meta]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ValueError(
            f"expected weights with values, got {lacking[0]}{more} on the device 'meta', which keeps shapes only. "
            "Write model.to_empty(device='cpu') and model.load_state_dict(weights), or build the model without "
            "torch.device('meta')"
        )


def wide(device: torch.device) -> torch.dtype:
    """The widest real numbers that the device computes with: float64, or float32 where it has no others."""
    return torch.float32 if device.type in _WITHOUT_FLOAT64 else torch.float64


def widened(values: Tensor) -> Tensor:
    """The same values in the widest real numbers of the device that they are on, to be summed up there."""
    return values.to(wide(values.device))


def launches(device: torch.device) -> bool:
    """Whether a call costs more than the arithmetic in it does, so that many small calls are made one large one."""
    return device.type != "cpu"


def computes_in(device: torch.device, model: nn.Module) -> bool:
    """Whether the device has the precision of the model's weights."""
    return wide(device) == torch.float64 or all(p.dtype != torch.float64 for p in model.parameters())


def move(model: nn.Module, device: torch.device) -> None:
    """Bring a model to a device.

    Raises:
        OutOfMemoryError: it does not fit; the message says what it takes and what is free.
        ValueError: its weights have no values.
    """
    check_weights(model)
    try:
        model.to(device)
    except torch.OutOfMemoryError as error:
        size, free = sum(p.nbytes for p in (*model.parameters(), *model.buffers())), free_memory(device)
        room = "" if free is None else f", and {free / 2**20:,.1f} MiB are free"
        raise torch.OutOfMemoryError(
            f"the model does not fit on {device}: its weights take {size / 2**20:,.1f} MiB{room}. Write device='cpu', "
            "or free memory there"
        ) from error


def has_fused_adam(device: torch.device) -> bool:
    """Whether torch's fused kernel of Adam runs on the device."""
    return device.type in _FUSED_ADAM


def has_graphs(device: torch.device) -> bool:
    """Whether operations can be captured on the device, to be replayed by one call."""
    return device.type != "cpu" and hasattr(torch.get_device_module(device), _GRAPH)


def new_graph(device: torch.device) -> Any:
    """An empty graph of a device that has them; its ``replay()`` does what was captured."""
    return getattr(torch.get_device_module(device), _GRAPH)()


def capture(graph: Any, device: torch.device) -> AbstractContextManager[Any]:
    """A context that notes the operations within in a graph, and does none of them."""
    module: Any = torch.get_device_module(device)
    return module.graph(graph, capture_error_mode="thread_local")  # other threads may pin memory meanwhile


def uncompiled() -> AbstractContextManager[Any]:
    """Within, compiled code runs as it was written, with hooks that came later; where none was compiled, nothing.

    To import torch's compiler takes two seconds.
    """
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def waiting_raises(device: torch.device) -> Generator[None]:
    """Within, what waits for the device, such as the reading of a number, is a RuntimeError."""
    module: Any = torch.get_device_module(device)
    before = module.get_sync_debug_mode()
    with warnings.catch_warnings(action="ignore"):  # torch says that it does not detect everything
        module.set_sync_debug_mode("error")
    try:
        yield
    finally:
        module.set_sync_debug_mode(before)


@contextmanager
def aside(device: torch.device) -> Generator[None]:
    """Within, operations go to a queue of their own, as torch asks for those that are run before they are captured."""
    module: Any = torch.get_device_module(device)
    queue = module.Stream(device)
    queue.wait_stream(module.current_stream(device))
    try:
        with module.stream(queue):
            yield
    finally:
        module.current_stream(device).wait_stream(queue)


def has_tf32(device: torch.device) -> bool:
    """Whether matrix products of float32 can round their factors to 10 bits of mantissa on the device, to be faster."""
    if device.type not in _TF32:
        return False
    module: Any = torch.get_device_module(device)
    with module.device(device):
        return bool(module.is_tf32_supported())


_backends: Any = torch.backends
_wanted: list[bool] = []
_as_found: list[tuple[Callable[[Any], None], Any]] = []
_switching = threading.Lock()


@contextmanager
def products_in_tf32(device: torch.device, wanted: bool) -> Generator[None]:
    """Within, matrix products and convolutions of float32 take place in TF32 or in float32, however torch is set.

    torch's switches are those of the whole process, and its own setting is TF32 for convolutions. They are put back
    when the last of several threads is done; where these want both, it is float32.

    Args:
        device: that computes; without TF32, nothing changes.
        wanted: TF32, or float32.
    """
    if not has_tf32(device):
        yield
        return
    with _switching:
        if not _wanted:
            _as_found[:] = _switches()
        _wanted.append(wanted)
        _switch_tf32(all(_wanted))
    try:
        yield
    finally:
        with _switching:
            _wanted.remove(wanted)
            if _wanted:
                _switch_tf32(all(_wanted))
            else:
                for put, value in _as_found:
                    put(value)


def _switch_tf32(on: bool) -> None:
    """Set torch's older switches, which its compilers read, and then the newer ones, which overrule them."""
    torch.set_float32_matmul_precision("high" if on else "highest")
    _backends.cudnn.allow_tf32 = on
    for part in _newer_switches():
        part.fp32_precision = "tf32" if on else "ieee"


def _newer_switches() -> list[Any]:
    """Of matrix products, convolutions and recurrent layers; empty before torch 2.9."""
    cudnn = _backends.cudnn
    return [_backends.cuda.matmul, cudnn.conv, cudnn.rnn] if hasattr(cudnn, "conv") else []


def _switches() -> list[tuple[Callable[[Any], None], Any]]:
    """How to put each switch back to what it is now, in order."""
    cudnn, mkldnn = _backends.cudnn, _backends.mkldnn
    ways: list[tuple[Callable[[Any], None], Callable[[], Any]]] = [
        (torch.set_float32_matmul_precision, torch.get_float32_matmul_precision),
        (partial(setattr, cudnn, "allow_tf32"), lambda: cudnn.allow_tf32),
    ]
    newer = _newer_switches()
    newer += [mkldnn.matmul] if newer else []  # which the first of the older ones sets too
    ways += [(partial(setattr, part, "fp32_precision"), partial(getattr, part, "fp32_precision")) for part in newer]
    found: list[tuple[Callable[[Any], None], Any]] = []
    for put, get in ways:
        with suppress(RuntimeError):  # an older one, where a newer one was set to what it has no word for
            found.append((put, get()))
    return found


def can_pin(device: torch.device) -> bool:
    """Whether a copy to the device is faster, and need not be waited for, from pinned memory."""
    return device.type in _PINS


def free_memory(device: torch.device) -> int | None:
    """Bytes that are still free on an accelerator, with what torch keeps there unused; None where it does not tell."""
    if device.type == "cpu":
        return None
    module: Any = torch.get_device_module(device)
    if hasattr(module, "mem_get_info"):
        free = int(module.mem_get_info(device)[0])
        kept = hasattr(module, "memory_reserved") and hasattr(module, "memory_allocated")
        return free + (module.memory_reserved(device) - module.memory_allocated(device) if kept else 0)
    if hasattr(module, "recommended_max_memory"):
        return max(0, int(module.recommended_max_memory()) - int(module.driver_allocated_memory()))
    return None


def release_memory() -> None:
    """Give back what torch keeps on the accelerator unused, so that a larger piece of it can be taken."""
    module: Any = torch.get_device_module()
    if hasattr(module, "empty_cache"):
        module.empty_cache()


def seed_on(device: torch.device, seed: int) -> None:
    """Seed the generator that draws on this accelerator; those of other devices stay as they are."""
    module: Any = torch.get_device_module(device)
    with module.device(device) if hasattr(module, "device") else nullcontext():  # Metal has one, and no such context
        module.manual_seed(seed)
