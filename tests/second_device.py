"""A second device without a card: its memory is the CPU's, and every mix of devices raises as CUDA would.

``pytest --second-device`` makes it known to torch, in pure Python, as an accelerator named "pretend", which nelbo then
takes for ``device="auto"``; its digits are the CPU's, because the CPU's kernels compute them.
``--second-device-survey`` raises nowhere: it writes the places that mix devices to second-device-survey.json, so that
one run shows them all.

As on CUDA, a tensor without axes may come from the CPU into elementwise operations, the indices of x[i] may be on the
CPU, .item() and copy_ cross devices, .numpy() is refused, and draws come from the device's own generator. `memory`
counts what its tensors take, and can be limited: a test then sees a torch.OutOfMemoryError.

Operations can be captured and replayed, as by torch.cuda.CUDAGraph: a replay runs the same operations on the same
memory, and what waits for the device raises while it is captured.

Within `tensor_cores()`, products and convolutions of float32 round their factors where torch's switches say TF32.

What it cannot show: races of copies that do not block, speed, kernels that CUDA lacks or whose digits differ. torch
aborts on an exception in its backward pass: those of hooks and Functions are raised at its end, others end the process.
"""

import json
import traceback
from collections import Counter
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves

NAME = "pretend"
_CPU_KERNEL, _AUTOCAST = (
    torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key)) for key in ("CPU", "AutocastPrivateUse1")
)
_INDEXED = (
    "aten::index",
    "aten::index_put",
    "aten::_index_put_impl_",
    "aten::_unsafe_index",
    "aten::_unsafe_index_put",
)
_WITH_CPU_SCALAR = ("aten::masked_fill", "aten::masked_fill_", "aten::index_fill", "aten::index_fill_", "aten::fill_")
# their result has a shape, or is a number, that only the device knows
_WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero",
           "aten::_unique2", "aten::unique_dim", "aten::bincount", "aten::linalg_inv")  # fmt: skip
# which arguments are factors
_PRODUCTS = {"aten::mm": (0, 1), "aten::bmm": (0, 1), "aten::mv": (0, 1), "aten::dot": (0, 1), "aten::addmm": (1, 2),
             "aten::addmv": (1, 2), "aten::addbmm": (1, 2), "aten::baddbmm": (1, 2), "aten::addmm_": (1, 2),
             "aten::baddbmm_": (1, 2)}  # fmt: skip
_CONVOLUTIONS = {"aten::convolution": (0, 1), "aten::convolution_backward": (0, 1, 2)}
_ROUNDED = ("linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "convolution")  # by autocast
_SETUP = "_setup_privateuseone_for_python_backend"
_PRIVATE = ("_construct_storage_from_data_pointer", "_dispatch_get_all_op_names")
_libraries: list[Any] = []  # torch forgets what a freed library registered
_survey: Counter[tuple[str, ...]] | None = None


# Memory


class Memory:
    """What the device's tensors take and may take, in bytes."""

    claimed = 64 << 20  # as free where there is no limit: nelbo then computes in the chunks of a CPU

    def __init__(self) -> None:
        self.used, self.limit = 0, None

    def take(self, size: int) -> None:
        if self.limit is not None and self.used + size > self.limit:
            raise torch.OutOfMemoryError(f"{NAME} out of memory: {self.used} bytes of {self.limit} used, {size} wanted")
        self.used += size

    def info(self, device: Any = None) -> tuple[int, int]:
        """Free and total, as torch.cuda.mem_get_info tells them."""
        total = self.used + self.claimed if self.limit is None else self.limit
        return max(0, total - self.used), total


memory = Memory()


class _Block:
    """The CPU's memory behind a storage of the device, as long as there is one."""

    def __init__(self, storage: Any) -> None:
        self.size = 0
        memory.take(storage.nbytes())
        self.storage, self.size = storage, storage.nbytes()

    def __del__(self) -> None:
        memory.used -= self.size


def _device() -> torch.device:
    return torch.device(NAME, 0)


def _wrapped(x: torch.Tensor) -> torch.Tensor:
    """The same memory, as a tensor of the device."""
    block = _Block(x.untyped_storage())
    storage = torch._C._construct_storage_from_data_pointer(block.storage.data_ptr(), _device(), block.size)
    storage.block = block  # torch keeps the storage's Python object, and so the memory, as long as any view of it
    return _put(torch._C._acc.create_empty_tensor((0,), x.dtype), storage, x)


def _put(out: torch.Tensor, storage: Any, like: torch.Tensor) -> torch.Tensor:
    put = torch.ops.aten.set_.source_Storage_storage_offset
    return put.redispatch(_CPU_KERNEL, out, storage, like.storage_offset(), like.shape, like.stride())


def _unwrapped(x: torch.Tensor) -> torch.Tensor:
    """The same memory, as a CPU tensor."""
    if x.device.type != NAME:
        return x
    out = torch.empty(0, dtype=x.dtype)
    return out.set_(x.untyped_storage().block.storage, x.storage_offset(), x.shape, x.stride())


# Generators: the device's draw what a CPU generator of that seed draws, but neither may draw for the other


class _OwnGenerator(torch._C.Generator):
    device = property(lambda self: _device())  # pyright: ignore[reportAssignmentType, reportIncompatibleVariableOverride]


class _Kind(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch._C.Generator)

    def __call__(cls, device: Any = "cpu") -> Any:
        if torch.device(device).type != NAME:
            return torch._C.Generator(device)
        made = _OwnGenerator("cpu")
        return _own_generators.setdefault(made._cdata, made)


class Generator(metaclass=_Kind):
    """Stands in for torch.Generator."""


# by address: torch hands operations a new Python object of the same generator
_own_generators: WeakValueDictionary[int, _OwnGenerator] = WeakValueDictionary()
_default: Any = None


def _draw(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch._C.Generator)), None)
    if given is not None:
        if given._cdata not in _own_generators:
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{given.device.type}'")
        return op(*args, **kwargs)
    before = torch.default_generator.get_state()  # some operations take no generator: the CPU's lends its place
    torch.default_generator.set_state(_default.get_state())
    try:
        return op(*args, **kwargs)
    finally:
        _default.set_state(torch.default_generator.get_state())
        torch.default_generator.set_state(before)


def _guarded(draw: Any) -> Any:
    """A drawing function of torch that does not draw on the CPU by the device's generator."""

    def function(*args: Any, **kwargs: Any) -> Any:
        out = draw(*args, **kwargs)
        if isinstance(kwargs.get("generator"), _OwnGenerator) and out.device.type != NAME:
            raise RuntimeError(f"Expected a 'cpu' device type for generator but found '{NAME}'")
        return out

    return function


# Graphs


class Graph:
    """Stands in for torch.cuda.CUDAGraph: operations that were captured, to be run again on the same memory."""

    def __init__(self) -> None:
        self.operations: list[Any] = []
        self.found: dict[Any, Any] = {}  # what memory held before the first operation that writes into it
        self.times = 0

    def note_writes(self, tensors: Any) -> None:
        """Remember what these tensors hold, unless it is known already."""
        for block in (x.untyped_storage().block for x in tensors if x.device.type == NAME):
            self.found.setdefault(block, block.storage.clone())

    def replay(self) -> None:
        """Run the captured operations again."""
        self.times += 1
        with torch.no_grad():
            for operation in self.operations:
                operation()


class Capture:
    """Stands in for torch.cuda.graph: within, operations are noted in a graph, and not yet done."""

    def __init__(self, graph: Graph, **_: Any) -> None:
        self.graph = graph

    def __enter__(self) -> None:
        global _capturing
        _capturing, self.generator = self.graph, _default.get_state()

    def __exit__(self, *_: object) -> None:
        global _capturing  # noqa: PLW0603
        _capturing = None
        _default.set_state(self.generator)
        for block, held in self.graph.found.items():
            if block.storage.nbytes() == held.nbytes():  # else it was a result's, which was given its shape meanwhile
                block.storage.copy_(held)


_capturing: Graph | None = None
_waiting_raises = False


def waits(op: Any, args: Any) -> bool:
    """Whether the result of an operation cannot be had before the device is done with all that it was asked."""
    if op._schema.name not in _INDEXED:
        return op._schema.name in _WAITING
    indices = [index for index in tree_leaves(args[1]) if isinstance(index, torch.Tensor)]
    return any(index.dtype in (torch.bool, torch.uint8) or index.device.type == "cpu" for index in indices)


def _refuse_waiting(what: str) -> None:
    if _capturing is not None:
        raise RuntimeError(f"operation not permitted when stream is capturing ({what})")
    if _waiting_raises:
        raise RuntimeError(f"called a synchronizing operation ({what})")


def _set_waiting(mode: str | int) -> None:
    global _waiting_raises  # noqa: PLW0603
    _waiting_raises = mode in ("error", 2)


# TF32


_has_tensor_cores = False
in_tf32: list[str] = []
"""The operations that took place in TF32 within the last `tensor_cores()`."""


@contextmanager
def tensor_cores() -> Any:
    """Within, the device computes in TF32 where torch's switches say so, as NVIDIA's do since Ampere."""
    global _has_tensor_cores  # noqa: PLW0603
    _has_tensor_cores = True
    in_tf32.clear()
    try:
        yield
    finally:
        _has_tensor_cores = False


def rounded_to_tf32(x: torch.Tensor) -> torch.Tensor:
    """Float32 rounded to 10 bits of mantissa, to the nearest and ties away from zero: cvt.rna.tf32.f32 of NVIDIA's PTX.

    The low 13 bits are dropped after half of their range was added to the magnitude; the relative error is 2^-11 at
    most.
    """
    bits = (x.detach().contiguous().view(torch.int32) + 0x1000) & ~0x1FFF
    return torch.where(x.isfinite(), bits.view(torch.float32), x)


def _in_tf32(op: Any) -> Any:
    """The operation as the device computes it now: with rounded factors, or as it is."""
    name = op._schema.name
    factors = _PRODUCTS.get(name) or _CONVOLUTIONS.get(name)
    if not _has_tensor_cores or factors is None:
        return op
    part: Any = torch.backends.cuda.matmul if name in _PRODUCTS else torch.backends.cudnn.conv
    if part.fp32_precision != "tf32":
        return op
    in_tf32.append(name)

    def compute(*args: Any, **kwargs: Any) -> Any:
        args = [
            rounded_to_tf32(x) if i in factors and x is not None and x.dtype == torch.float32 else x
            for i, x in enumerate(args)
        ]
        return op(*args, **kwargs)

    return compute


# Operations


@cache
def _facts(op: Any) -> tuple[bool, bool, bool, list[int], frozenset[str]]:
    """Whether it gives a view, draws, and takes CPU scalars; which arguments are one tensor, and which it writes."""
    schema = op._schema
    shared = [r.alias_info for r in schema.returns]
    view = schema.name == "aten::set_" or any(a is not None and not a.is_write for a in shared)
    draws = torch.Tag.nondeterministic_seeded in op.tags
    scalars = torch.Tag.pointwise in op.tags or schema.name in _WITH_CPU_SCALAR
    single = [i for i, argument in enumerate(schema.arguments) if str(argument.type) == "Tensor"]
    return view, draws, scalars, single, frozenset(a.name for a in schema.arguments if a.is_write)


def _run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Any operation: checked, and run by the CPU's kernel."""
    view, draws, _, single, _ = _facts(op)
    if view:
        return op.redispatch(_CPU_KERNEL, *args, **kwargs)  # its kernel looks at no memory
    _check(op, args, kwargs)
    if waits(op, args):
        _refuse_waiting(op._schema.name)
    if _capturing is not None:
        _capturing.note_writes(_written(op, args, kwargs))
    given: list[tuple[torch.Tensor, torch.Tensor]] = []

    def unwrap(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            given.append((value, _unwrapped(value)))
            return given[-1][1]
        return torch.device("cpu") if isinstance(value, torch.device) else value

    args, kwargs = [_each(unwrap, arg) for arg in args], {key: _each(unwrap, arg) for key, arg in kwargs.items()}
    for i in single:
        if i < len(args) and isinstance(args[i], (bool, int, float, complex)):  # of x * 2
            args[i] = torch.scalar_tensor(args[i], dtype=torch.result_type(given[0][1], args[i]))
    compute = _in_tf32(op)
    out = _draw(op, args, kwargs) if draws else compute(*args, **kwargs)
    for own, cpu in given:  # an out= that was given another shape
        if own.device.type == NAME and (own.shape != cpu.shape or own.data_ptr() != cpu.data_ptr()):
            _put(own, _wrapped(cpu).untyped_storage(), cpu)
    back = {id(cpu): own for own, cpu in given}
    if _capturing is not None:
        new = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor) and id(x) not in back]
        _capturing.operations.append(partial(_once_more, compute, args, kwargs, new, draws))

    def wrap(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return back[id(value)] if id(value) in back else _wrapped(value)
        return value

    return _each(wrap, out)


def _once_more(op: Any, args: Any, kwargs: Any, results: list[torch.Tensor], draws: bool) -> None:
    out = _draw(op, args, kwargs) if draws else op(*args, **kwargs)
    given = {id(x) for x in tree_leaves((args, kwargs))}
    for held, result in zip(results, (x for x in tree_leaves(out) if id(x) not in given), strict=True):
        held.copy_(result)


def _written(op: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """The tensors that an operation changes."""
    names = _facts(op)[-1]
    named = [*zip((argument.name for argument in op._schema.arguments), args, strict=False), *kwargs.items()]
    return [x for name, value in named if name in names for x in tree_leaves(value) if isinstance(x, torch.Tensor)]


def _each(change: Any, value: Any) -> Any:
    """The value, or those in a list or tuple, changed; a function that called itself would keep its tensors alive."""
    return type(value)(_each(change, part) for part in value) if type(value) in (list, tuple) else change(value)


def _check(op: Any, args: Any, kwargs: Any) -> None:
    """Raise as CUDA does where tensors of several devices meet."""
    _, _, scalars, _, written = _facts(op)
    named = [(argument.name, value) for argument, value in zip(op._schema.arguments, args, strict=False)] + list(
        kwargs.items()
    )
    for name, value in named:
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if not isinstance(tensor, torch.Tensor) or tensor.device.type == NAME:
                continue
            if scalars and tensor.dim() == 0 and name not in written:
                continue
            if op._schema.name in _INDEXED and (name == "indices" or (name == "values" and tensor.dim() == 0)):
                continue
            if _survey is None:
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and "
                    f"{tensor.device}! (argument {name} of {op})"
                )
            stack = [
                f for f in traceback.extract_stack() if "site-packages" not in f.filename and f.filename != __file__
            ]
            _survey[tuple(f"{f.filename}:{f.lineno} {f.name}" for f in stack[-14:])] += 1


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> torch.Tensor:
    layout = memory_format or torch.contiguous_format
    return _wrapped(torch.empty(size, dtype=dtype, device="cpu", memory_format=layout))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> torch.Tensor:
    return _wrapped(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    if source.device != target.device:
        _refuse_waiting("a copy between devices")
    into, values = _unwrapped(target), _unwrapped(source)
    if _capturing is not None:
        _capturing.note_writes([target])
        _capturing.operations.append(partial(into.copy_, values))
    into.copy_(values)
    return target


def _convolution(*args: Any) -> Any:
    return _run(torch.ops.aten.convolution.default, *args)


def _convolution_backward(grad: Any, x: Any, weight: Any, *rest: Any) -> Any:
    return _run(torch.ops.aten.convolution_backward.default, grad, x, weight, None, *rest)


def _rounding(op: Any) -> Any:
    """An operation under torch.autocast."""

    def cast(x: Any) -> Any:
        rounds = isinstance(x, torch.Tensor) and x.is_floating_point() and x.dtype != torch.float64
        return x.to(torch.get_autocast_dtype(NAME)) if rounds else x

    def function(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            return op(*map(cast, args), **kwargs)

    return function


# Backward: torch 2.13 aborts on an exception from Python code on the way back on a device whose guard is Python's own


_raised: list[BaseException] = []


def _caught(function: Any) -> Any:
    def caught(*args: Any, **kwargs: Any) -> Any:
        try:
            return None if _raised else function(*args, **kwargs)
        except BaseException as error:
            _raised.append(error)
            return None

    return caught


def _backward(run: Any) -> Any:
    """The way back, at whose end the first exception of a hook or a Function is raised."""

    def function(*args: Any, **kwargs: Any) -> Any:
        _raised.clear()
        try:
            return run(*args, **kwargs)
        finally:
            if _raised:
                raise _raised.pop(0)

    return function


class _Stream:
    """A queue of a device that waits for everything."""

    def wait_stream(self, other: "_Stream") -> None: ...


class _Module:
    """torch.pretend, as torch.cuda."""

    def __init__(self) -> None:
        self.is_available = self.is_initialized = lambda: True
        self._is_in_bad_fork = lambda: False
        self.current_device, self.device_count = lambda: 0, lambda: 1
        self.device = lambda device: nullcontext()
        self.synchronize = lambda device=None: None
        self.mem_get_info = memory.info
        self.manual_seed = self.manual_seed_all = lambda seed: _default.manual_seed(seed)  # noqa: PLW0108  (made later)
        self.get_rng_state = lambda device=None: _default.get_state()
        self.set_rng_state = lambda state, device=None: _default.set_state(state)
        self.Stream = self.current_stream = lambda device: _Stream()
        self.stream = lambda stream: nullcontext()
        self.CUDAGraph, self.graph = Graph, Capture
        self.get_sync_debug_mode, self.set_sync_debug_mode = lambda: 2 * _waiting_raises, _set_waiting
        self.is_tf32_supported = lambda: _has_tensor_cores
        self.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]


def missing() -> str | None:
    """The functions of torch that the device needs and this version lacks, in a sentence; None where it has all."""
    absent = [name for name in _PRIVATE if not hasattr(torch._C, name)]
    absent += [] if hasattr(backend_registration, _SETUP) else [_SETUP]
    return f"torch {torch.__version__} has no {', '.join(absent)}" if absent else None


def install(survey: Counter[tuple[str, ...]] | None = None) -> None:
    """Make the device known to torch for the rest of the process.

    Args:
        survey: counts the places that mix devices, which raise nothing then.
    """
    global _default, _survey  # noqa: PLW0603  (torch knows one such device in a process)
    _survey = survey
    getattr(backend_registration, _SETUP)(NAME, backend_module=_Module())
    torch.autograd._engine_run_backward = _backward(torch.autograd._engine_run_backward)
    register = torch.Tensor.register_hook
    torch.Tensor.register_hook = lambda self, hook: register(self, _caught(hook))
    torch.autograd.function.BackwardCFunction.apply = _caught(torch.autograd.function.BackwardCFunction.apply)
    _default = Generator(NAME)
    aten, everything = (torch.library.Library(namespace, "IMPL") for namespace in ("aten", "_"))
    _libraries.extend((aten, everything))
    everything.fallback(_run, "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    own = {
        "empty.memory_format": _empty,
        "empty_strided": _empty_strided,
        "_copy_from": _copy_from,
        "convolution_overrideable": _convolution,
        "convolution_backward_overrideable": _convolution_backward,
        "_fused_sdp_choice": lambda *args, **kwargs: 0,  # by matrix products
    }
    for name, function in own.items():
        aten.impl(name, function, "PrivateUse1")
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    for (
        full
    ) in torch._C._dispatch_get_all_op_names():  # else torch asks more than once: for the memory, for its content
        if full.startswith("aten::") and has(full, "CompositeExplicitAutogradNonFunctional") and has(full, "CPU"):
            name, _, overload = full.removeprefix("aten::").partition(".")
            op = getattr(getattr(torch.ops.aten, name), overload or "default")
            aten.impl(full.removeprefix("aten::"), partial(_run, op), "PrivateUse1")
    for name in _ROUNDED:
        aten.impl(name, _rounding(getattr(torch.ops.aten, name).default), "AutocastPrivateUse1")
    torch.Generator = Generator
    for place, names in (
        (torch, "randn rand randint randperm normal bernoulli multinomial poisson randn_like rand_like"),
        (torch.Tensor, "normal_ uniform_ bernoulli_ random_ exponential_ log_normal_ geometric_ cauchy_"),
    ):
        for name in names.split():
            setattr(place, name, _guarded(getattr(place, name)))
    made = torch.UntypedStorage.__new__  # as a buffer is copied, or a file of torch.save is read
    torch.UntypedStorage.__new__ = lambda cls, *args, device=None, **rest: (
        _wrapped(torch.empty(args[0], dtype=torch.uint8)).untyped_storage()
        if device is not None and torch.device(device).type == NAME
        else made(cls, *args, device=device, **rest)
    )


def write(survey: Counter[tuple[str, ...]]) -> None:
    """The places of a survey, the most frequent first, each with the calls that led there."""
    found = [{"times": times, "calls": calls} for calls, times in survey.most_common()]
    Path("second-device-survey.json").write_text(json.dumps(found, indent=1))
