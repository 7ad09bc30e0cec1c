"""Models that answer with named outputs and hold their loss themselves, as benchmark and hub libraries write them."""

from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

import nelbo
from nelbo.data import Batch
from tests.planted import sets
from tests.planted.wild.styles import handed_over, wild


class NamedOutput(OrderedDict):
    """Its entries are attributes too."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class NamedEncoder(nn.Module):
    def __init__(self, features, latent):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, 64), nn.ReLU())
        self.embedding, self.log_var = nn.Linear(64, latent), nn.Linear(64, latent)

    def forward(self, x):
        h = self.layers(x.reshape(len(x), -1))
        return NamedOutput(embedding=self.embedding(h), log_covariance=self.log_var(h))


class NamedDecoder(nn.Module):
    def __init__(self, event, latent, *, squash):
        super().__init__()
        features = torch.Size(event).numel()
        self.event = event
        self.layers = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, features))
        if squash:
            self.layers.append(nn.Sigmoid())

    def forward(self, z):
        return NamedOutput(reconstruction=self.layers(z).reshape(-1, *self.event))


class LossInside(nn.Module):
    """Its forward takes a dictionary and gives its loss beside the reconstruction."""

    def __init__(self, error, *, event=(1, 8, 8), latent=4, squash=True):
        super().__init__()
        self.model_config = SimpleNamespace(reconstruction_loss=error, latent_dim=latent)
        self.encoder = NamedEncoder(torch.Size(event).numel(), latent)
        self.decoder = NamedDecoder(event, latent, squash=squash)

    def forward(self, inputs):
        x = inputs["data"]
        encoded = self.encoder(x)
        mu, log_var = encoded.embedding, encoded.log_covariance
        z = self.sample(mu, log_var)
        recon_x = self.decoder(z)["reconstruction"]
        recon_loss, kld = self.terms(recon_x.reshape(len(x), -1), x.reshape(len(x), -1), mu, log_var)
        return NamedOutput(recon_loss=recon_loss.mean(), reg_loss=kld.mean(), loss=self.joined(recon_loss, kld),
                           recon_x=recon_x, z=z)  # fmt: skip

    def sample(self, mu, log_var):
        return mu + torch.exp(0.5 * log_var) * torch.randn_like(log_var)

    def terms(self, recon_x, x, mu, log_var):
        """Both for each example."""
        if self.model_config.reconstruction_loss == "mse":
            recon_loss = 0.5 * F.mse_loss(recon_x, x, reduction="none").sum(dim=-1)
        else:
            recon_loss = F.binary_cross_entropy(recon_x, x, reduction="none").sum(dim=-1)
        return recon_loss, -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)

    def joined(self, recon_loss, kld):
        return (recon_loss + kld).mean(dim=0)


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def inside(model, data, **extra):
    def loss(x):
        return model({"data": x}).loss

    return handed_over(model, loss, data, **extra)


@wild(None, "binary digits", "loss inside forward")
def loss_inside():
    return inside(LossInside("bce"), sets.binary_digits())


@wild(None, "grainy blobs", "loss inside forward")
def loss_inside_with_squares():
    data = tuple(2 * part for part in sets.grainy_blobs())  # their noise has a standard deviation of 1
    return inside(LossInside("mse", squash=False), data)


@wild("sigma-too-large", "gray digits", "loss inside forward")
def squares_of_pixels_between_0_and_1():
    return inside(LossInside("mse"), sets.gray_digits())


@wild("sigma-too-small", "gray digits", "loss inside forward")
def squares_of_pixels_between_0_and_255():
    class Bytes(LossInside):
        """Scales within its networks, but not in its loss."""

        def __init__(self):
            super().__init__("mse")
            self.encoder.layers.insert(0, Times(1 / 255))
            self.decoder.layers.append(Times(255))

    return inside(Bytes(), tuple(255 * part for part in sets.gray_digits()))


@wild("loss-likelihood", "binary digits", "loss inside forward")
def sigmoid_twice():
    class Twice(LossInside):
        def terms(self, recon_x, x, mu, log_var):
            error = F.binary_cross_entropy_with_logits(recon_x, x, reduction="none").sum(dim=-1)
            return error, super().terms(recon_x, x, mu, log_var)[1]

    return inside(Twice("bce"), sets.binary_digits())


@wild("sample-with-variance", "binary digits", "loss inside forward")
def exponential_of_the_log_variance():
    class Wide(LossInside):
        def sample(self, mu, log_var):
            return mu + torch.exp(log_var) * torch.randn_like(log_var)

    return inside(Wide("bce"), sets.binary_digits(), scale="logvar")


@wild("kl-mean", "binary digits", "loss inside forward")
def kl_averaged_over_all():
    class Averaged(LossInside):
        def terms(self, recon_x, x, mu, log_var):
            kld = -0.5 * torch.mean(1 + log_var - mu.pow(2) - log_var.exp())
            return super().terms(recon_x, x, mu, log_var)[0], kld

    return inside(Averaged("bce"), sets.binary_digits())


@wild("loss-not-elbo", "binary digits", "loss inside forward")
def free_bits_of_the_batch():
    class Free(LossInside):
        def joined(self, recon_loss, kld):
            return recon_loss.mean() + kld.mean().clamp(min=6.0)

    return inside(Free("bce"), sets.binary_digits())


@wild("effective-beta", "binary digits", "loss inside forward")
def kl_divided_by_the_batch_twice():
    class Twice(LossInside):
        def joined(self, recon_loss, kld):
            return recon_loss.mean() + kld.mean() / len(kld)

    return inside(Twice("bce"), sets.binary_digits())


# hub style: a dataclass of outputs, keyword arguments, return_dict


@dataclass
class Output:
    loss: torch.Tensor
    logits: torch.Tensor
    latent_mean: torch.Tensor
    latent_logvar: torch.Tensor


class HubVAE(nn.Module):
    """Convolutions with BatchNorm; encode gives a dictionary, forward a dataclass."""

    def __init__(self, *, latent=6, kl_weight=1.0):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=latent, kl_weight=kl_weight)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(),
            nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(), nn.Flatten(),
        )  # fmt: skip
        self.mean_head, self.logvar_head = nn.Linear(128, latent), nn.Linear(128, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, 128), nn.Unflatten(1, (32, 2, 2)), nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.BatchNorm2d(16), nn.LeakyReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1),
        )  # fmt: skip

    def encode(self, pixel_values):
        h = self.encoder(pixel_values)
        return {"last_hidden_state": h, "mean": self.mean_head(h), "logvar": self.logvar_head(h)}

    def decode(self, latents):
        return {"logits": self.decoder(latents)}

    def forward(self, pixel_values):
        encoded = self.encode(pixel_values)
        mean, logvar = encoded["mean"], encoded["logvar"]
        logits = self.decode(self.draw(mean, logvar))["logits"]
        return Output(self.loss(logits, pixel_values, mean, logvar), logits, mean, logvar)

    def draw(self, mean, logvar):
        return mean + torch.exp(logvar / 2) * torch.randn_like(mean)

    def loss(self, logits, pixel_values, mean, logvar):
        error = F.binary_cross_entropy_with_logits(logits, pixel_values, reduction="sum") / len(mean)
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(1).mean()
        return error + self.config.kl_weight * kl


def hub(model, data=None, **extra):
    return handed_over(model, model, data or sets.binary_digits(), given=model.forward, **extra)


@wild(None, "binary digits", "named outputs, BatchNorm")
def dataclass_of_outputs():
    return hub(HubVAE())


@wild(None, "binary digits", "named outputs, BatchNorm")
def weight_of_the_config_as_stated():
    return hub(HubVAE(kl_weight=0.25), beta=0.25)


@wild("effective-beta", "binary digits", "named outputs, BatchNorm")
def weight_of_the_config_unsaid():
    return hub(HubVAE(kl_weight=0.25))


@wild("sample-with-variance", "binary digits", "named outputs, BatchNorm")
def dropout_of_the_latents():
    class Dropped(HubVAE):
        def draw(self, mean, logvar):
            return F.dropout(super().draw(mean, logvar), 0.3, self.training)

    return hub(Dropped())


@wild("loss-likelihood", "binary digits", "named outputs, BatchNorm")
def squares_of_probabilities():
    class Squares(HubVAE):
        def loss(self, logits, pixel_values, mean, logvar):
            error = 5.0 * (torch.sigmoid(logits) - pixel_values).pow(2).flatten(1).sum(1).mean()
            return error + 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(1).mean()

    return hub(Squares(), likelihood=nelbo.likelihoods.Bernoulli())


@wild("kl-formula", "binary digits", "named outputs, BatchNorm")
def logarithm_of_the_variance_left_out():
    class Without(HubVAE):
        def loss(self, logits, pixel_values, mean, logvar):
            error = F.binary_cross_entropy_with_logits(logits, pixel_values, reduction="sum") / len(mean)
            return error + 0.5 * (mean**2 + logvar.exp() - 1).sum(1).mean()

    return hub(Without())


# conv with BatchNorm, tanh and images from -1 to 1; sigma by softplus


class TanhVAE(nn.Module):
    def __init__(self, *, latent=6):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32),
            nn.ReLU(), nn.Flatten(), nn.Linear(128, 2 * latent),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent, 128), nn.ReLU(), nn.Unflatten(1, (32, 2, 2)), nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def encode(self, x):
        mu, h = self.encoder(x).chunk(2, dim=1)
        return mu, F.softplus(h) + 1e-4

    def reparameterize(self, mu, sigma):
        return mu + sigma * torch.randn_like(sigma)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        mu, sigma = self.encode(x)
        return self.decode(self.reparameterize(mu, sigma)), mu, sigma


def tanh(kl, sigma=0.3, model=None, **extra):
    model = model or TanhVAE()

    def loss_function(recon_x, x, mu, sigma_z):
        error = (recon_x - x).pow(2).sum() / (2 * sigma**2 * len(x))
        return error + kl(mu, sigma_z)

    def loss(x):
        recon_x, mu, sigma_z = model(x)
        return loss_function(recon_x, x, mu, sigma_z)

    data = tuple(2 * part - 1 for part in sets.gray_digits())
    family = nelbo.likelihoods.Normal(sigma)
    return handed_over(model, loss, data, given=loss_function, likelihood=family, **extra)


@wild(None, "gray digits", "tanh and BatchNorm, sigma by softplus")
def tanh_and_softplus():
    return tanh(lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 1 - 2 * sigma.log()).sum(1).mean())


@wild("kl-of-variance", "gray digits", "tanh and BatchNorm, sigma by softplus")
def sigma_taken_for_the_variance():
    return tanh(lambda mu, sigma: 0.5 * (mu**2 + sigma - 1 - sigma.log()).sum(1).mean())


@wild("kl-of-variance", "gray digits", "tanh and BatchNorm, sigma by softplus")
def sigma_taken_for_the_log_variance():
    return tanh(lambda mu, sigma: 0.5 * (mu**2 + sigma.exp() - 1 - sigma).sum(1).mean())


@wild("kl-of-variance", "gray digits", "tanh and BatchNorm, sigma by softplus")
def softplus_left_out_of_the_kl():
    class Raw(TanhVAE):
        def encode(self, x):
            return self.encoder(x).chunk(2, dim=1)

        def reparameterize(self, mu, sigma):
            return mu + F.softplus(sigma) * torch.randn_like(sigma)

    return tanh(lambda mu, sigma: 0.5 * (mu**2 + sigma.exp() - 1 - sigma).sum(1).mean(), model=Raw(), scale="softplus")


# a conditional model


class ConditionalVAE(nn.Module):
    """encode(x, c) and decode(z, c), c the class as one-hot."""

    def __init__(self, *, latent=4, classes=10):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(64 + classes, 64), nn.Linear(64, latent), nn.Linear(64, latent)
        self.fc3, self.fc4 = nn.Linear(latent + classes, 64), nn.Linear(64, 64)

    def encode(self, x, c):
        h = F.relu(self.fc1(torch.cat([x.flatten(1), c], 1)))
        return self.fc21(h), self.fc22(h)

    def decode(self, z, c):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(torch.cat([z, c], 1))))).view(-1, 1, 8, 8)

    def forward(self, x, c):
        mu, logvar = self.encode(x, c)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decode(z, c), mu, logvar


def conditional(kl_of, **extra):
    model = ConditionalVAE()

    def loss(x, c):
        recon_x, mu, logvar = model(x, c)
        return (F.binary_cross_entropy(recon_x, x, reduction="sum") + kl_of(mu, logvar)) / len(x)

    return handed_over(model, loss, tuple(labelled()), likelihood=nelbo.likelihoods.Bernoulli(), **extra)


def labelled():
    """The binary digits with their classes as one-hot conditions."""
    from sklearn.datasets import load_digits

    labels = F.one_hot(torch.as_tensor(load_digits().target), 10).float()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(7))
    for part, rows in zip(sets.binary_digits(), (order[300:], order[:300]), strict=True):
        yield Batch(part, c=labels[rows])


@wild(None, "binary digits and classes", "conditional")
def of_a_class():
    return conditional(lambda mu, logvar: -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()))


@wild("kl-doubled", "binary digits and classes", "conditional")
def half_forgotten_of_a_class():
    return conditional(lambda mu, logvar: -torch.sum(1 + logvar - mu.pow(2) - logvar.exp()))
