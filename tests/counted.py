"""What a computation asks of a device: operations, and those that wait for it."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# their result has a shape, or is a number, that only the device knows
_WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero",
            "aten::_unique2", "aten::unique_dim", "aten::bincount", "aten::linalg_inv")  # fmt: skip


class Counted(TorchDispatchMode):
    """Within, ``operations`` that a device runs and those that ``wait`` for it are counted, by name.

    Those that wait: numbers that are read, copies to and from the CPU, and results whose shape depends on values.
    """

    def __init__(self, device):
        super().__init__()
        self.kind, self.operations, self.waits = device.type, Counter(), Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = self._kinds((args, kwargs))
        out = function(*args, **(kwargs or {}))
        there = given | self._kinds(out)
        if self.kind in there:
            name = function._schema.name
            self.operations[name] += 1
            masks = name in ("aten::index", "aten::index_put", "aten::index_put_") and any(
                t.dtype == torch.bool for t in tree_leaves(args[1]) if isinstance(t, torch.Tensor)
            )
            copies = "copy" in name and len(there) > 1
            if name in _WAITING or masks or copies:
                self.waits[name] += 1
        return out

    @staticmethod
    def _kinds(values):
        return {value.device.type for value in tree_leaves(values) if isinstance(value, torch.Tensor)}
