"""Weights of torch modules under the referee's names."""

from typing import Any

from torch import nn


def mlp(enc1: nn.Linear, heads: nn.Linear, dec1: nn.Linear, dec2: nn.Linear) -> dict[str, Any]:
    """``heads`` gives the means, then the logarithms of the variances."""
    n = heads.out_features // 2
    weight, bias = heads.weight.detach().cpu(), heads.bias.detach().cpu()
    return {
        **dense("enc1", enc1),
        "mu_w": weight[:n].T.numpy(),
        "mu_b": bias[:n].numpy(),
        "log_sigma_w": (0.5 * weight[n:]).T.numpy(),
        "log_sigma_b": (0.5 * bias[n:]).numpy(),
        **dense("dec1", dec1),
        **dense("dec2", dec2),
    }


def dense(name: str, layer: nn.Linear) -> dict[str, Any]:
    return {f"{name}_w": layer.weight.detach().T.cpu().numpy(), f"{name}_b": layer.bias.detach().cpu().numpy()}


def conv(layers: list[nn.Module]) -> dict[str, Any]:
    """The eight layers of the convolutional network, in order; the fourth gives means and log variances."""
    weights: dict[str, Any] = {}
    for i, layer in enumerate(layers):
        for name, tensor in (("w", layer.weight), ("b", layer.bias)):
            weights[f"{i}_{name}"] = tensor.detach().cpu().contiguous().clone()
    for tensor in (weights["3_w"], weights["3_b"]):
        tensor[len(tensor) // 2 :] *= 0.5
    return {name: tensor.numpy() for name, tensor in weights.items()}
