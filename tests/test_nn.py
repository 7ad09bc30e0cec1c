"""Networks give exactly the shapes that they are built for."""

import pytest
import torch
from torch import nn

from nelbo.nn import MLP, ConvDecoder, ConvEncoder, Log1p, OneHot, ResidualBlock, activate

SIZES = [(1, 7, 9), (1, 28, 28), (3, 32, 32), (2, 33, 17), (1, 4, 5), (1, 6, 31)]


@pytest.mark.parametrize("event", SIZES)
@pytest.mark.parametrize("channels", [(4,), (4, 6)])
@pytest.mark.parametrize("residual", [0, 1])
def test_images_of_any_size(event, channels, residual):
    encoder = ConvEncoder(event, 5, channels=channels, hidden=7, residual=residual)
    decoder = ConvDecoder(3, event, channels=channels, hidden=7, residual=residual)
    x, z = torch.randn(2, *event), torch.randn(2, 3)
    assert encoder(x).shape == (2, 5)
    assert decoder(z).shape == (2, *event)
    (encoder(x).sum() + decoder(z).sum()).backward()
    zero = [n for net in (encoder, decoder) for n, p in net.named_parameters() if p.grad is None]
    assert not zero


@pytest.mark.parametrize("event", SIZES)
def test_every_pixel_of_the_output_depends_on_the_latent(event):
    """No row or column is padding: the odd ones that halving lost come back from the convolution."""
    torch.manual_seed(0)
    decoder = ConvDecoder(3, event, channels=(8, 8), hidden=16, activation="silu")
    out = decoder(torch.randn(50, 3))
    assert (out.std(0) > 1e-5).all()


def test_residual_blocks_start_as_the_identity():
    x = torch.randn(2, 6, 5, 5)
    assert torch.equal(ResidualBlock(6)(x), x)
    with torch.no_grad():
        block = ResidualBlock(6)
        block.f[-1].weight.normal_()
    assert not torch.equal(block(x), x)


def test_examples_do_not_see_each_other():
    """Batch statistics would make training and measuring differ."""
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 8, 8), 4, channels=(8,), residual=2)
    for p in encoder.parameters():
        nn.init.normal_(p, std=0.1)
    x = torch.randn(6, 1, 8, 8)
    torch.testing.assert_close(encoder(x)[:2], encoder(x[:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 4), ((2, 3), (1, 2, 2)), ((1, 5, 5), 3)])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
def test_mlp(inputs, outputs, hidden):
    network = MLP(inputs, outputs, hidden=hidden)
    x = torch.randn(3, *network.inputs)
    assert network(x).shape == (3, *network.outputs)
    assert sum(isinstance(m, nn.Linear) for m in network.modules()) == len(hidden) + 1


@pytest.mark.parametrize("name", ["relu", "tanh", "silu", "gelu", "elu", "leaky_relu", "softplus"])
def test_activations(name):
    x = torch.linspace(-3, 3, 7)
    expected = getattr(nn.functional, name, getattr(torch, name, None))(x.clone())
    torch.testing.assert_close(activate(name)(x.clone()), expected)


def test_log1p_and_one_hot():
    x = torch.tensor([[0.0, 3.0]])
    torch.testing.assert_close(Log1p()(x), (1 + x).log())
    assert OneHot(4)(x).tolist() == [[1, 0, 0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: MLP(6, 4)(torch.zeros(2, 5)),
            r"MLP was built for inputs of shape \(batch, 6\), got \(2, 5\); build it",
        ),
        (lambda: MLP((1, 2, 3), 4)(torch.zeros(2, 6)), r"inputs of shape \(batch, 1, 2, 3\), got \(2, 6\)"),
        (lambda: ConvEncoder((1, 8, 8), 4)(torch.zeros(2, 1, 9, 8)), r"ConvEncoder was built .*got \(2, 1, 9, 8\)"),
        (lambda: ConvDecoder(2, (1, 8, 8))(torch.zeros(2, 3)), r"ConvDecoder was built .*\(batch, 2\), got \(2, 3\)"),
        (lambda: ConvEncoder((8, 8), 4), r"images of shape \(channels, height, width\), got \(8, 8\)"),
        (lambda: ConvEncoder((1, 2, 9), 4), r"2x9 can be halved 1 times, got 2 entries .* write channels=\(32,\)"),
        (lambda: ConvEncoder((1, 1, 9), 4), r"1x9 can be halved 0 times.* write network='mlp'"),
        (lambda: activate("sigmoid"), r"activation must be one of 'relu', .*; got 'sigmoid'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_layer_that_does_not_fit_into_memory_is_refused_before_it_takes_any(monkeypatch):
    monkeypatch.setattr("nelbo.data.sizes.available_memory", lambda: 1 << 30)
    with pytest.raises(MemoryError, match=r"from 48,000,000 to 400 units has 19,200,000,000 weights.*network='conv'"):
        MLP((3, 4000, 4000), 4)
