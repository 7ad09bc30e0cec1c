"""Linear Gaussian models with missing values, where everything is known in closed form."""

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from nelbo.vae import VAE
from tests.linear_gaussian import LinearGaussian


def with_holes(x: Tensor, share: float = 0.4, seed: int = 5) -> Tensor:
    """x with NaN at random places, one value of each example at least left."""
    generator = torch.Generator().manual_seed(seed)
    missing = torch.rand(x.shape, generator=generator) < share
    missing[torch.arange(len(x)), torch.randint(0, x[0].numel(), (len(x),), generator=generator)] = False
    return x.masked_fill(missing, torch.nan)


class ExactUnderHoles(nn.Module):
    """An encoder that gives p(z|x_observed) of a linear Gaussian model as mean, log diagonal and rest of a Cholesky."""

    takes_missing = True

    def __init__(self, model: LinearGaussian, error: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(model.weight.clone()), model.bias
        self.sigma, self.error = model.sigma, error

    def forward(self, x: Tensor) -> Tensor:
        mask = (~x.isnan()).double()
        latent = self.weight.shape[1]
        precision = torch.eye(latent, dtype=torch.float64)
        precision = precision + torch.einsum("nd,di,dj->nij", mask, self.weight, self.weight) / self.sigma**2
        covariance = torch.linalg.inv(precision)
        off = (x - self.bias).nan_to_num(nan=0.0)
        mean = torch.einsum("nij,dj,nd->ni", covariance, self.weight, off) / self.sigma**2 + self.error
        tril = torch.linalg.cholesky(covariance)
        below = torch.tril_indices(latent, latent, offset=-1)
        diagonal = tril.diagonal(dim1=-2, dim2=-1).log() + 0.3 * self.error
        return torch.cat([mean, diagonal, tril[:, below[0], below[1]]], dim=1)


def vae_of(model: LinearGaussian, error: float = 0.0) -> VAE:
    """The model as a VAE that takes missing values, whose q(z|x) is exact but for an error."""
    vae = model.vae()
    vae.encoder = ExactUnderHoles(model, error)
    return vae.eval()


def exact_evidence(model: LinearGaussian, x: Tensor) -> Tensor:
    """Log p(x_observed) of each example, (n,)."""
    joint, found = model.evidence(), []
    for row in x:
        seen = ~row.isnan()
        marginal = MultivariateNormal(joint.mean[seen], joint.covariance_matrix[seen][:, seen])
        found.append(marginal.log_prob(row[seen]) if bool(seen.any()) else torch.zeros(()))
    return torch.stack(found)


def exact_imputation(model: LinearGaussian, row: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of p(x_missing|x_observed) of one example."""
    joint = model.evidence()
    seen, missing = ~row.isnan(), row.isnan()
    covariance = joint.covariance_matrix
    gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen][:, missing]).T
    mean = joint.mean[missing] + gain @ (row[seen] - joint.mean[seen])
    return mean, covariance[missing][:, missing] - gain @ covariance[seen][:, missing]
