"""Small networks whose singular vectors tests make pictures of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import AS_THEY_COME
from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.visualization.feature_visualization import Settings, Visualized
from ddp_tasks.visualization.pixels import PixelSpace
from ddp_tasks.visualization.transformations import Extents
from ddp_tasks.weights.tensor_svd import decompose


class Normalised(nn.Module):
    """A convolution, a BatchNorm, in-place ReLUs and two fully connected layers."""

    def __init__(self, channels: int = 3, side: int = 9) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.conv1 = nn.Conv2d(channels, 5, 3, padding=1)
            self.norm = nn.BatchNorm2d(5)
            self.conv2 = nn.Conv2d(5, 6, 3, stride=2)
            self.fc = nn.Linear(6 * ((side - 1) // 2) ** 2, 7)
            self.head = nn.Linear(7, 4)
            nn.init.uniform_(self.norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(self.norm.running_var, 0.5, 1.5)
        self.relu = nn.ReLU(inplace=True)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = self.relu(self.norm(self.conv1(images)))
        x = self.relu(self.conv2(x))
        return self.head(self.relu(self.fc(x.flatten(1))))


def natural_inputs(*shape: int, seed: int = 0) -> Tensor:
    """Inputs with patterns larger than pixels and with colours that go together, from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(shape[0], shape[1], 4, 4, generator=generator)
    grown = nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")
    return 0.2 + 0.6 * (0.7 * grown.mean(dim=1, keepdim=True) + 0.3 * grown)


def visualized(model: nn.Module, layer: str, inputs: Tensor) -> Visualized:
    """What ``optimised`` takes, for one layer."""
    layers = {one.name: one for one in trace_layers(model, inputs[:2]).linear}
    of = layers[layer]
    U = decompose(unfolded_weight(model, of), of.groups).U
    signals = extract(ForwardPass(model, (of,), {layer: U}), [inputs]).signal[:, 0]
    mean = torch.from_numpy(signals.mean(axis=0)).double()
    return Visualized(model, AS_THEY_COME, of, U, mean, PixelSpace.of(inputs, None))


def quick(precision: str = "float32", steps: int = 5) -> Settings:
    """Few steps, with transformations that matter for small pictures."""
    return Settings(
        steps=steps,
        learning_rate=0.05,
        phase_rate=0.1,
        decay=1.0,
        extents=Extents(1.0, 0.1, 10.0),
        precision=precision,
    )
