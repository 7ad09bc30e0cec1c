"""Small instances of the VAEs of other projects, trained for a moment on data that are made here.

Each function returns (view, loss, x): the model seen through nelbo.wrap, what its training differentiates, and data.
The packages are those of requirements.txt, in an environment of their own; no weights are fetched.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import nelbo


class Wild(NamedTuple):
    """A model of another project, as nelbo sees it."""

    view: Any
    loss: Callable[..., Any] | None
    x: Any
    """A tensor, or a batch with its condition."""


def _table(n: int = 512, features: int = 12) -> Tensor:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(n, 2, generator=g)
    return z @ torch.randn(2, features, generator=g) + 0.3 * torch.randn(n, features, generator=g)


def _trained(module: nn.Module, loss: Callable[[Tensor], Tensor], x: Tensor, steps: int, lr: float = 1e-3) -> None:
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), lr)
    for step in range(steps):
        optimizer.zero_grad()
        loss(x[(step * 64) % len(x) :][:64]).backward()
        optimizer.step()


def diffusers_autoencoder_kl(steps: int = 20) -> Wild:
    """AutoencoderKL under the loss of diffusers' own training script: MSE + 1e-6 KL, without its LPIPS term.

    The mean over all D numbers of an image and a KL weight w are together the negative ELBO of a normal with
    sigma^2 = w D / 2, so sigma = 0.02 for these small images and 0.31 for 3 x 256 x 256. A thousand times the
    weight is a sigma 32 times as large, which was seen to leave reconstructions as they are
    ([CompVis/latent-diffusion#270](https://github.com/CompVis/latent-diffusion/issues/270)).
    """
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(16, 32),
        norm_num_groups=8,
        latent_channels=4,
        sample_size=16,
    )
    x = torch.tanh(nn.functional.interpolate(torch.randn(96, 3, 4, 4), size=16, mode="bilinear"))

    def loss(x: Tensor) -> Tensor:
        posterior = model.encode(x).latent_dist
        reconstruction = model.decode(posterior.sample()).sample
        kl = posterior.kl().mean()
        return nn.functional.mse_loss(reconstruction, x, reduction="mean") + 1e-6 * kl

    _trained(model, loss, x, steps)
    return Wild(nelbo.wrap(model, x=x), loss, x)


def _pythae(name: str, steps: int = 60, **settings: Any) -> Wild:
    import pythae.models

    kind = f"{name}_Config" if "_" in name else f"{name}Config"

    torch.manual_seed(0)
    config = getattr(pythae.models, kind)(input_dim=(1, 8, 8), latent_dim=3, **settings)
    model = getattr(pythae.models, name)(config)
    x = torch.rand(256, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()

    def loss(x: Tensor) -> Any:
        return model({"data": x}).loss

    _trained(model, loss, x, steps)
    return Wild(nelbo.wrap(model, x=x[:128]), loss, x)


def pythae_vae() -> Wild:
    """Pythae's VAE with a squared error.

    Sums over features and units, half of the squared error: a negative ELBO with sigma = 1, up to its constant.
    """
    return _pythae("VAE")


def pythae_vae_bce() -> Wild:
    """Pythae's VAE with a binary cross-entropy.

    The negative ELBO of a Bernoulli.
    """
    return _pythae("VAE", reconstruction_loss="bce")


def pythae_beta_vae() -> Wild:
    """Pythae's BetaVAE with beta = 4.

    As stated.
    """
    return _pythae("BetaVAE", beta=4.0, reconstruction_loss="bce")


def pythae_iwae() -> Wild:
    """Pythae's IWAE, whose loss is no sum of two terms.

    Refused: each example is decoded several times, and a bound of several draws has no beta.
    """
    return _pythae("IWAE", number_samples=3)


def pythae_wae() -> Wild:
    """Pythae's WAE_MMD, which has no q(z|x).

    Refused: what encodes gives no spread, so that there is no KL to weigh.
    """
    return _pythae("WAE_MMD")


def pyod_vae() -> Wild:
    """PyOD's VAE as fitted with its defaults: capacity 0.

    The KL is clamped to at most the capacity, and so is 0, with no gradient: an autoencoder with noise.
    [yzhao062/pyod#184](https://github.com/yzhao062/pyod/pull/184), which added the capacity, calls it the default.
    """
    from pyod.models.vae import VAE, vae_loss

    x = _table()
    detector = VAE(epoch_num=5, verbose=0, encoder_neuron_list=[16, 8], decoder_neuron_list=[8, 16]).fit(x.numpy())
    x = (x - torch.as_tensor(detector.X_mean).float()) / torch.as_tensor(detector.X_std).float()
    view = nelbo.wrap(detector, x=x)

    def loss(x: Tensor, x_recon: Tensor, z_mu: Tensor, z_logvar: Tensor) -> Tensor:
        return vae_loss(x, x_recon, z_mu, z_logvar, beta=detector.beta, capacity=detector.capacity)

    return Wild(view, loss, x)


class TableRow(torch.distributions.Distribution):
    """p(x|z) of TVAE, as its loss has it: normal around tanh, and one-hot by a softmax."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, columns: list[Any], raw: Tensor, sigma: Tensor) -> None:
        self.columns, self.raw, self.sigma = columns, raw, sigma
        super().__init__(raw.shape[:1], raw.shape[1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        terms, start = [], 0
        for span in self.columns:
            raw, x = self.raw[:, start : start + span.dim], value[..., start : start + span.dim]
            if span.activation_fn == "softmax":
                terms.append((raw.log_softmax(-1) * x).sum(-1))
            else:
                sigma = self.sigma[start : start + span.dim]
                terms.append(torch.distributions.Normal(raw.tanh(), sigma).log_prob(x).sum(-1))
            start += span.dim
        return torch.stack(terms).sum(0)

    @property
    def mean(self) -> Tensor:
        """Of each column, (n, features)."""
        return torch.cat(
            [
                raw.softmax(-1) if span.activation_fn == "softmax" else raw.tanh()
                for span, raw in zip(self.columns, self.raw.split([s.dim for s in self.columns], 1), strict=True)
            ],
            1,
        )

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.mean.expand(*sample_shape, *self.mean.shape)


def ctgan_tvae() -> Wild:
    """CTGAN's TVAE as fitted: it keeps no encoder, so that the one of its training is caught while it is made.

    loss_factor=2 doubles the reconstruction error, which is beta = 0.5; that answers
    [sdv-dev/SDV#2094](https://github.com/sdv-dev/SDV/issues/2094). Its sigma is learned, so its loss is the negative
    logarithm of a density and may well be far below 0, as
    [sdv-dev/CTGAN#212](https://github.com/sdv-dev/CTGAN/issues/212) asks.
    """
    import ctgan.synthesizers.tvae as module
    import pandas

    kept: list[Any] = []
    initialize = module.Encoder.__init__

    def keeping(self: Any, *args: Any) -> None:
        initialize(self, *args)
        kept.append(self)

    frame = pandas.DataFrame(_table(256, 3).numpy(), columns=list("abc"))
    frame["kind"] = (frame["a"] > 0).map({True: "yes", False: "no"})
    module.Encoder.__init__ = keeping
    try:
        synthesizer = module.TVAE(embedding_dim=3, epochs=3, batch_size=64, enable_gpu=False)
        synthesizer.fit(frame, ["kind"])
    finally:
        module.Encoder.__init__ = initialize
    x = torch.as_tensor(synthesizer.transformer.transform(frame), dtype=torch.float32)
    info, decoder = synthesizer.transformer.output_info_list, synthesizer.decoder
    columns = [span for column in info for span in column]
    view = nelbo.wrap(encode=kept[0], decode=decoder, x=x, likelihood=lambda answer: TableRow(columns, *answer))

    def loss(x: Tensor) -> Tensor:
        mean, std, logvar = kept[0](x)
        reconstruction, sigmas = decoder(mean + std * torch.randn_like(std))
        return sum(module._loss_function(reconstruction, x, sigmas, mean, logvar, info, synthesizer.loss_factor))

    return Wild(view, loss, x)


def ctgan_tvae_alone() -> Wild:
    """The same, handed over as it is.

    Refused: q(z|x) is thrown away after the fit, and with it log p(x), scores and imputation.
    """
    import pandas
    from ctgan import TVAE

    frame = pandas.DataFrame(_table(64, 3).numpy(), columns=list("abc"))
    synthesizer = TVAE(embedding_dim=3, epochs=1, batch_size=64, enable_gpu=False)
    synthesizer.fit(frame)
    return Wild(nelbo.wrap(synthesizer, x=_table(64, 3)), None, None)


def scvi_scvi() -> Wild:
    """scvi-tools' SCVI with two batches, at c = (batch, log library size).

    The negative ELBO of its counts once its KL is warmed up.
    """
    import anndata
    import scvi

    scvi.settings.seed = 0
    g = torch.Generator().manual_seed(0)
    rates = torch.exp(torch.randn(256, 2, generator=g) @ torch.randn(2, 20, generator=g) * 0.5 + 1)
    counts = torch.poisson(rates, generator=g)
    cells = anndata.AnnData(counts.numpy())
    cells.obs["batch"] = ["a" if i % 2 else "b" for i in range(256)]
    scvi.model.SCVI.setup_anndata(cells, batch_key="batch")
    model = scvi.model.SCVI(cells, n_latent=3, n_hidden=16)
    model.train(max_epochs=3, accelerator="cpu", enable_progress_bar=False, logger=False)
    batch = torch.tensor([0.0 if i % 2 else 1.0 for i in range(256)])
    c = torch.stack([batch, counts.sum(1).log()], 1)

    def loss(x: Tensor, c: Tensor) -> Any:
        tensors = {"X": x, "batch": c[:, :1].long(), "labels": torch.zeros(len(x), 1)}
        return model.module(tensors, loss_kwargs={"kl_weight": 1.0})[2].loss

    return Wild(nelbo.wrap(model, x=counts, c=c), loss, nelbo.data.Batch(counts, c=c))


def lightning_module() -> Wild:
    """A Lightning module in the usual form, with a forgotten factor before its KL.

    The factor, 0.1, is found.
    """
    from lightning import LightningModule

    class LitVAE(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.Linear(12, 6), nn.Linear(3, 12)

        def encode(self, x: Tensor) -> torch.distributions.Normal:
            mean, h = self.encoder(x).chunk(2, 1)
            return torch.distributions.Normal(mean, nn.functional.softplus(h) + 1e-3)

        def training_step(self, batch: Any, index: int) -> Tensor:
            x, _ = batch
            q = self.encode(x)
            error = (self.decoder(q.rsample()) - x).square().sum(1)
            kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
            loss = (0.5 * error + 0.1 * kl).mean()
            self.log("loss", loss)
            return loss

    torch.manual_seed(0)
    model, x = LitVAE(), _table()
    return Wild(nelbo.wrap(model, x=x, likelihood=nelbo.likelihoods.Normal(1.0)), model.training_step, x)


MODELS: dict[str, Callable[[], Wild]] = {
    "diffusers AutoencoderKL": diffusers_autoencoder_kl,
    "pythae VAE": pythae_vae,
    "pythae VAE (bce)": pythae_vae_bce,
    "pythae BetaVAE, beta = 4": pythae_beta_vae,
    "pythae IWAE": pythae_iwae,
    "pythae WAE_MMD": pythae_wae,
    "PyOD VAE": pyod_vae,
    "CTGAN TVAE, its encoder kept": ctgan_tvae,
    "CTGAN TVAE, fitted": ctgan_tvae_alone,
    "scvi-tools SCVI": scvi_scvi,
    "Lightning": lightning_module,
}
