"""The loop of pytorch/examples, vae/main.py: a DataLoader, probabilities, loss.item() in every step."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.mlp_network import Network
from benchmarks.turns import Turn

turn = Turn()
x = torch.from_numpy(turn.images).float() / 255
torch.manual_seed(0)
network = Network()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(x), batch_size=128, shuffle=True)

for _ in range(turn.epochs):
    turn.begin()
    train_loss = 0.0
    for (batch,) in loader:
        optimizer.zero_grad()
        logits, mu, log_var = network(batch)
        error = F.binary_cross_entropy(torch.sigmoid(logits), batch, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
        loss = error + kl
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    turn.end()
turn.save(**network.weights())
