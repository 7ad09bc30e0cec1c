"""Sequences of tokens: an embedding, recurrent networks, and a categorical decoder."""

import torch
from torch import nn
from torch.nn import functional as F

import nelbo
from nelbo.data import Batch
from tests.planted.wild.styles import handed_over, wild

LENGTH, WORDS = 12, 6
TRAINING = {"epochs": 14, "lr": 1e-2, "batch": 100}


def tokens(n=2400):
    """Three phrases of four words each; which phrase stands at each place, and how it is turned, is hidden."""
    g = torch.Generator().manual_seed(23)
    phrases = torch.randint(WORDS, (4, 4), generator=g)
    chosen = torch.randint(4, (n, 3), generator=g)
    x = phrases[chosen].reshape(n, LENGTH)
    noise = torch.randint(WORDS, x.shape, generator=g)
    x = torch.where(torch.rand(x.shape, generator=g) < 0.05, noise, x)
    return x[:2000], x[2000:]


class SequenceVAE(nn.Module):
    """The decoder unrolls z at every position; encode and forward take tokens as whole numbers."""

    def __init__(self, latent=6, hidden=32):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 16)
        self.encoder_rnn = nn.GRU(16, hidden, batch_first=True, bidirectional=True)
        self.hidden2mean, self.hidden2logv = nn.Linear(2 * hidden, latent), nn.Linear(2 * hidden, latent)
        self.latent2hidden = nn.Linear(latent, hidden)
        self.decoder_rnn = nn.GRU(hidden, hidden, batch_first=True)
        self.outputs2vocab = nn.Linear(hidden, WORDS)

    def encode(self, input_sequence):
        _, h = self.encoder_rnn(self.embedding(input_sequence))
        h = torch.cat([h[0], h[1]], -1)
        return self.hidden2mean(h), self.hidden2logv(h)

    def reparameterize(self, mean, logv):
        return mean + torch.randn_like(mean) * torch.exp(0.5 * logv)

    def decode(self, z):
        h = torch.tanh(self.latent2hidden(z))
        out, _ = self.decoder_rnn(h[:, None].expand(-1, LENGTH, -1), h[None].contiguous())
        return self.outputs2vocab(out)

    def forward(self, input_sequence):
        mean, logv = self.encode(input_sequence)
        return self.decode(self.reparameterize(mean, logv)), mean, logv


def kl_of(mean, logv):
    return -0.5 * torch.sum(1 + logv - mean.pow(2) - logv.exp(), dim=1)


def sequence(error, kl=kl_of, model=None, **extra):
    model = model or SequenceVAE()

    def loss(x):
        logits, mean, logv = model(x)
        return error(logits, x) + kl(mean, logv).mean()

    likelihood = nelbo.likelihoods.Categorical(WORDS)
    return handed_over(model, loss, tokens(), likelihood=likelihood, training=TRAINING, **extra)


def summed(logits, x):
    return F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="sum") / len(x)


@wild(None, "tokens", "recurrent")
def recurrent():
    return sequence(summed, scale="logvar")


@wild("reconstruction-mean", "tokens", "recurrent")
def cross_entropy_averaged_over_tokens():
    return sequence(lambda logits, x: F.cross_entropy(logits.transpose(1, 2), x), scale="logvar")


class Softmax(SequenceVAE):
    def decode(self, z):
        return torch.softmax(super().decode(z), dim=-1)


@wild("loss-likelihood", "tokens", "recurrent")
def softmax_twice():
    return sequence(summed, model=Softmax(), scale="logvar")


@wild("kl-mean", "tokens", "recurrent")
def kl_divided_by_the_length():
    return sequence(summed, lambda mean, logv: kl_of(mean, logv) / LENGTH, scale="logvar")


class TeacherForced(SequenceVAE):
    """The decoder sees the tokens before each position; they are the condition c."""

    def __init__(self, latent=6, hidden=32, dropped=0.0):
        super().__init__(latent, hidden)
        self.decoder_rnn = nn.GRU(16 + latent, hidden, batch_first=True)
        self.dropped = dropped

    def decode(self, z, before):
        words = self.embedding(before.long())
        if self.training and self.dropped:
            words = words * (torch.rand(words.shape[:2]) >= self.dropped)[..., None]
        h = torch.tanh(self.latent2hidden(z))
        out, _ = self.decoder_rnn(torch.cat([words, z[:, None].expand(-1, LENGTH, -1)], -1), h[None].contiguous())
        return self.outputs2vocab(out)

    def forward(self, input_sequence, before):
        mean, logv = self.encode(input_sequence)
        return self.decode(self.reparameterize(mean, logv), before), mean, logv


def teacher_forced(model, kl_weight=1.0, beta=None):
    def loss(x, c):
        logits, mean, logv = model(x, c)
        return summed(logits, x) + kl_weight * kl_of(mean, logv).mean()

    data = tuple(Batch(x, c=F.pad(x[:, :-1], (1, 0))) for x in tokens())
    likelihood = nelbo.likelihoods.Categorical(WORDS)
    return handed_over(model, loss, data, likelihood=likelihood, beta=beta, scale="logvar", training=TRAINING)


@wild("posterior-collapse", "tokens", "recurrent, teacher forcing")
def teacher_forcing_alone():
    return teacher_forced(TeacherForced(), kl_weight=3.0, beta=3.0)
