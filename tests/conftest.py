"""One thread per test process: small tensors gain nothing from more, and pytest-xdist uses the cores."""

import torch

torch.set_num_threads(1)
