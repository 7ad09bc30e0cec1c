"""What a computation asks of a device: operations, and those that wait for it."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.second_device import waits


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
            if waits(function, args) or ("copy" in name and len(there) > 1):
                self.waits[name] += 1
        return out

    @staticmethod
    def _kinds(values):
        return {value.device.type for value in tree_leaves(values) if isinstance(value, torch.Tensor)}
