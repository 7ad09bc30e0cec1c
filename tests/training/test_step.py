"""The step: a module whose forward is the loss, tensors that follow the time, and sigma at its optimum."""

import copy
import dataclasses
import inspect

import pytest
import torch
from torch import nn

import nelbo
from nelbo.data import Batch, as_data
from nelbo.objectives import ELBO, Beta, Capacity, ImportanceWeighted, Linear
from nelbo.training.fit import prepare
from nelbo.training.optimizers import Adam, factor_at
from nelbo.training.precision import mixed_precision
from nelbo.training.settings import Settings
from nelbo.training.step import Clock, Step
from tests.cases import LIKELIHOODS, make_vae
from tests.training.simple import binary, by_hand, small, weights


def settings(**changes):
    defaults = {name: p.default for name, p in inspect.signature(nelbo.fit).parameters.items()}
    return Settings.of({**defaults, **changes})


def step_of(model, objective, **changes):
    device = next(model.parameters()).device
    clock = Clock(settings(**changes), objective, examples=200, device=device)
    return Step(model, objective, clock, precision=changes.get("precision", "float32")).train()


def gradients(module, batch):
    for parameter in module.parameters():
        parameter.grad = None
    torch.manual_seed(3)
    module(batch).surrogate.mean().backward()
    return [parameter.grad.clone() for parameter in module.parameters()]


def test_its_terms_are_the_objective_s():
    model, batch = by_hand(), Batch(binary(20))
    step = step_of(model, Beta(Linear(4, end=2.0)))
    step.clock.advance(1.0, 10)
    torch.manual_seed(0)
    got = step(batch)
    torch.manual_seed(0)
    expected = Beta(0.5)(model, batch)
    assert torch.equal(got.value, expected.value)
    assert torch.equal(got.loss.nelbo, expected.loss.nelbo)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_as_tensors_are_weights_as_numbers(dtype):
    """Bit for bit: a tensor without axes promotes nothing, and is the number itself."""
    model, batch = by_hand().to(dtype), Batch(binary(20).to(dtype))
    for objective, name in ((Beta(Linear(3)), "beta"), (Capacity(Linear(3, end=25.0)), "capacity")):
        step = step_of(model, objective)
        for epoch in (0.1, 1 / 3, 2.7):
            step.clock.advance(epoch, 1)
            weight = getattr(objective, name).at(epoch)
            torch.manual_seed(0)
            got = step(batch).value
            torch.manual_seed(0)
            assert torch.equal(got, dataclasses.replace(objective, **{name: weight})(model, batch).value)


def test_the_clock_fills_the_same_tensors():
    step = step_of(by_hand(), Beta(Linear(4)), ema=0.9, schedule="cosine", learning_rate_warm_up=1.0)
    clock = step.clock
    adam = Adam(step.parameters(), learning_rate=clock.learning_rate)
    places = {name: buffer.data_ptr() for name, buffer in clock.named_buffers()}
    assert places.keys() == {"learning_rate", "ema_weight", "weight_beta"}
    for epoch, number in ((0.0, 0), (0.5, 3), (7.25, 40)):
        clock.advance(epoch, number)
        assert float(clock.learning_rate) == 1e-3 * factor_at("cosine", epoch, 20, 1.0)
        assert float(clock.ema_weight) == max(1 - 0.9, 1 / (number + 1))
        assert float(clock.progress.weights["beta"]) == Linear(4).at(epoch)
        assert adam.param_groups[0]["lr"] is clock.learning_rate
    assert places == {name: buffer.data_ptr() for name, buffer in clock.named_buffers()}


# --- the optimal sigma (B1) -------------------------------------------------------------------------------------------


def sigma_model():
    torch.manual_seed(0)
    return nelbo.VAE(
        nelbo.nn.MLP(5, 4, hidden=(8,)),
        nelbo.nn.MLP(2, 5, hidden=(8,)),
        latent=2,
        likelihood=nelbo.likelihoods.Normal("optimal"),
    )


def test_a_measurement_leaves_the_model_as_it_is():
    """In the training mode of a fresh module, with gradients and without."""
    model, x = sigma_model(), 3 * torch.randn(50, 5)
    before = weights(model)
    nelbo.loss(model, x)
    with torch.no_grad():
        nelbo.loss(model, x)
    for objective in (ELBO(), Beta(), ImportanceWeighted(3)):
        objective(model, x)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("objective", [ELBO(), ELBO(samples=4), ImportanceWeighted(3), Beta(2.0)])
def test_a_training_step_moves_sigma_once(objective):
    before, model, batch = sigma_model(), sigma_model(), Batch(3 * torch.randn(50, 5))
    step = step_of(model, objective)
    torch.manual_seed(1)
    step(batch)
    torch.manual_seed(1)
    # the first residual replaces the start: with draws, over all of them, as their weights count them
    samples = getattr(objective, "samples", 1)
    qz, pz = before.posterior(batch.x), before.prior
    z = qz.rsample((samples,) if samples > 1 else ())
    squares = (before.decode(z) - batch.x).square()
    expected = squares.mean()
    if isinstance(objective, ImportanceWeighted):
        log_w = before.log_likelihood(batch.x, z) + pz.log_prob(z) - qz.log_prob(z)
        expected = (log_w.softmax(0)[..., None] * squares).sum(0).mean()
    torch.testing.assert_close(model.px_family.mean_square, expected.detach())
    assert int(model.px_family.steps) == 1
    step(batch)
    assert int(model.px_family.steps) == 2
    assert not model.px_family._forward_hooks


def test_evaluated_it_moves_nothing():
    model = sigma_model()
    step_of(model, ELBO()).eval()(Batch(torch.randn(20, 5)))
    assert int(model.px_family.steps) == 0


# --- whatever wraps a module ------------------------------------------------------------------------------------------


def test_distributed_data_parallel_wraps_it(tmp_path):
    """Its hooks sit on the way back from the forward of the module that it wraps: here there is one process."""
    step, batch = step_of(by_hand(), Beta(Linear(4))), Batch(binary(20))
    step.clock.advance(1.0, 0)
    expected = gradients(step, batch)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(copy.deepcopy(step))
        synchronized = []
        wrapped.register_comm_hook(None, lambda state, bucket: synchronized.append(1) or _as_it_is(bucket))
        got = gradients(wrapped, batch)
    finally:
        torch.distributed.destroy_process_group()
    assert synchronized
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def _as_it_is(bucket):
    future = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
def test_torch_compile_wraps_it():
    step, batch = step_of(by_hand(), Beta(Linear(4))), Batch(binary(20))
    step.clock.advance(1.0, 0)
    expected = gradients(step, batch)
    got = gradients(torch.compile(step, backend="eager"), batch)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
@pytest.mark.parametrize(
    ("name", "objective", "changes"),
    [
        ("bernoulli", Beta(Linear(4)), {"ema": 0.9, "clip": 1.0, "schedule": "cosine"}),
        ("normal_optimal", ImportanceWeighted(3, "dreg"), {"precision": "bfloat16"}),
    ],
)
def test_the_compiled_step_is_one_graph(name, objective, changes):
    """Gradients and the optimizer's moves included: whatever breaks it in two costs a way through Python."""
    data = as_data(LIKELIHOODS[name][1](50))
    trained = []
    for compiled in (False, True):
        torch.manual_seed(0)
        updates = prepare(make_vae(name), objective, data, settings(**changes), torch.device("cpu"), None)
        updates.step.train()
        raw = next(updates.batches())
        with updates.step.listening(), mixed_precision(updates.model, updates.settings.precision):
            updates.begin()
            updates.joined(raw)
            updates.begin()
            if compiled:
                with torch._dynamo.config.patch(trace_autograd_ops=True):
                    torch.compile(updates.joined, fullgraph=True, backend="eager")(raw)
            else:
                updates.joined(raw)
        trained.append(updates.state.tensors())
    for key, tensor in trained[0].items():
        torch.testing.assert_close(trained[1][key], tensor)


def test_mixed_precision_is_over_afterwards():
    model = small("sigma_vae")
    step = step_of(model, ELBO(), precision="bfloat16")
    assert step(Batch(torch.randn(20, 6))).value.dtype == torch.float32
    assert model.network_precision == "float32"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="captures a CUDA graph")
def test_a_cuda_graph_replays_it_as_the_clock_moves_on():
    """Forward, backward and Adam captured once; each replay reads the schedule and the learning rate of its step."""
    device = torch.device("cuda")
    changes = {"schedule": "cosine", "epochs": 4, "device": "cuda"}
    batch = Batch(binary(64).to(device))
    trained = []
    for captured in (False, True):
        step = step_of(by_hand().to(device), Beta(Linear(4)), **changes)
        adam = Adam(step.parameters(), learning_rate=step.clock.learning_rate)

        def update(step=step, adam=adam):
            for parameter in step.parameters():
                parameter.grad = None
            step(batch).surrogate.mean().backward()
            adam.step()

        def number(i, update=update, step=step):
            torch.manual_seed(i)
            step.clock.advance(i / 10, i)
            update()

        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for i in range(3):
                number(i)
        torch.cuda.synchronize()
        if captured:
            graph = torch.cuda.CUDAGraph()
            before = [t.clone() for t in (*step.state_dict().values(), *_moments(adam))]
            with torch.cuda.graph(graph):
                update()
            for now, then in zip((*step.state_dict().values(), *_moments(adam)), before, strict=True):
                now.copy_(then)
        for i in range(3, 20):
            if captured:
                torch.manual_seed(i)
                step.clock.advance(i / 10, i)
                graph.replay()
            else:
                number(i)
        trained.append(weights(step))
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name


def _moments(adam):
    return [tensor for state in adam.state.values() for tensor in state.values()]
