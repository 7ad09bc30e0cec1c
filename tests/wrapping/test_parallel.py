"""Compiled, parallel and half-precision models, handed over as they are."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nelbo
from nelbo.diagnosis import effective_beta
from tests.wrapping.models import FEATURES, Script, binary

X = binary(120, event=(FEATURES,))


def loss_of(model):
    def loss(x):
        recon, mu, logvar = model(x)
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()
        return (F.binary_cross_entropy(recon.float(), x, reduction="sum") + 3 * kl.float()) / len(x)

    return loss


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def judge(shown, plain, precise=True):
    """The same numbers as of the plain model, and a loss that runs the shown one is weighed."""
    expected = nelbo.loss(nelbo.wrap(plain, x=X), X).kl.detach()
    vae = nelbo.wrap(shown, x=X)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if precise else {"rtol": 0.05, "atol": 0.05}
    with torch.no_grad():
        torch.testing.assert_close(nelbo.loss(vae, X).kl, expected, **tolerance)
    assert vae.sampling.training == "logvar"
    weighed = effective_beta(loss_of(shown), vae, X)
    assert float(weighed.beta) == pytest.approx(3, rel=1e-3 if precise else 0.05)
    return vae


def test_compiled():
    model = Script()
    judge(torch.compile(model, backend="eager"), model)


def test_data_parallel():
    model = Script()
    judge(nn.DataParallel(model), model)


def test_distributed(group):
    model = Script()
    judge(nn.parallel.DistributedDataParallel(model), model)


def test_distributed_and_compiled(group):
    model = Script()
    judge(torch.compile(nn.parallel.DistributedDataParallel(model), backend="eager"), model)


def test_fully_sharded(group):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = Script()
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    judge(model, Script())


def test_autocast():
    model = Script()
    with torch.autocast("cpu", torch.bfloat16):
        judge(model, Script(), precise=False)


def test_half_weights():
    model = Script().bfloat16()
    vae = nelbo.wrap(model, x=X)
    assert vae.posterior(X).mean.dtype == torch.float32

    def loss(x):
        return loss_of(model)(x.float()) if x.dtype == torch.float32 else loss_of(model)(x)

    exact = nelbo.loss(nelbo.wrap(Script(), x=X), X).kl.detach()
    with torch.no_grad():
        torch.testing.assert_close(nelbo.loss(vae, X).kl, exact, rtol=0.05, atol=0.05)
