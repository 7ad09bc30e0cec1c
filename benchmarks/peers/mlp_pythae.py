"""pythae's BaseTrainer on the same network; its VAE wants probabilities from the decoder."""

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor

from benchmarks.peers.mlp_network import Network
from benchmarks.turns import Turn

turn = Turn()
x = turn.images.astype(np.float32) / 255
torch.manual_seed(0)
network = Network()


class Encoder(BaseEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.enc1, self.mu, self.log_var = network.enc1, network.mu, network.log_var

    def forward(self, x: Tensor) -> ModelOutput:
        h = torch.relu(self.enc1(x))
        return ModelOutput(embedding=self.mu(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    def __init__(self) -> None:
        super().__init__()
        self.dec1, self.dec2 = network.dec1, network.dec2

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.dec2(torch.relu(self.dec1(z)))))


class NextTurn(TrainingCallback):
    def on_epoch_end(self, training_config: BaseTrainerConfig, **_: object) -> None:
        turn.end()
        turn.begin()


model = VAE(VAEConfig(input_dim=(784,), latent_dim=20, reconstruction_loss="bce"), encoder=Encoder(), decoder=Decoder())
data = BaseDataset(torch.from_numpy(x), torch.zeros(len(x)))
config = BaseTrainerConfig(
    output_dir="pythae",
    num_epochs=turn.epochs,
    learning_rate=1e-3,
    per_device_train_batch_size=128,
    optimizer_cls="Adam",
    no_cuda=turn.device == "cpu",
)
trainer = BaseTrainer(model=model, train_dataset=data, training_config=config, callbacks=[NextTurn()])
turn.begin()
trainer.train()
turn.save(**network.weights())
