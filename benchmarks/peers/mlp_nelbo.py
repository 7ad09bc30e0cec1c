"""nelbo.fit, the 784-400-20-400-784 network; with the argument ``compile`` or ``uncaptured``, fit's option of it."""

import torch

import nelbo
from benchmarks.peers.torch_weights import mlp
from benchmarks.turns import Turn

turn = Turn()
x = torch.from_numpy(turn.images)
torch.manual_seed(0)
vae = nelbo.VAE(
    nelbo.nn.MLP(784, 40),
    nelbo.nn.MLP(20, 784),
    latent=20,
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
    compile="compile" in turn.arguments,
    capture="uncaptured" not in turn.arguments,
    precision="tf32" if "tf32" in turn.arguments else "float32",
    device=turn.device,
    progress=False,
    callback=next_turn,
)
encoder, decoder = ([layer for layer in net.layers if hasattr(layer, "weight")] for net in (vae.encoder, vae.decoder))
turn.save(note=run.record.get("steps", ""), **mlp(encoder[0], encoder[1], *decoder))
