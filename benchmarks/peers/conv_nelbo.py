"""nelbo.fit with nelbo's own convolutional networks."""

import torch

import nelbo
from benchmarks.peers.torch_weights import conv
from benchmarks.turns import Turn

turn = Turn()
x = torch.from_numpy(turn.images).reshape(-1, 1, 28, 28)
torch.manual_seed(0)
vae = nelbo.VAE(
    nelbo.nn.ConvEncoder((1, 28, 28), 32, channels=(32, 64), hidden=256),
    nelbo.nn.ConvDecoder(16, (1, 28, 28), channels=(32, 64), hidden=256),
    latent=16,
    likelihood=nelbo.likelihoods.Bernoulli(allow_gray=True),
)


def next_turn(_: object) -> None:
    turn.end()
    turn.begin()


data = nelbo.data.as_data(x, validation=0)  # the peers hold nothing out either
turn.begin()
run = nelbo.fit(
    vae,
    data,
    epochs=turn.epochs,
    batch_size=128,
    learning_rate=1e-3,
    device=turn.device,
    progress=False,
    callback=next_turn,
)
layers = [layer for net in (vae.encoder, vae.decoder) for layer in net.layers if hasattr(layer, "weight")]
turn.save(note=run.record.get("steps", ""), **conv(layers))
