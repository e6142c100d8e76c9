"""Networks as people write them: each is odd in one way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune


class Plain(nn.Module):
    """Two convolutions and one fully connected layer for images (2, 6, 6), seeded weights."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
            self.conv2 = nn.Conv2d(4, 5, 3)
            self.fc = nn.Linear(5 * 4 * 4, classes)

    def maps(self, images: Tensor) -> Tensor:
        """What the convolutions make."""
        return torch.relu(self.conv2(torch.relu(self.conv1(images))))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, 6, 6)."""
        return self.fc(self.maps(images).flatten(1))


class Viewing(Plain):
    """Takes contiguous tensors alone."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.fc(self.maps(images).view(len(images), -1))


class MemoryOrder(Plain):
    """Reads its maps in the order of memory, so that it answers otherwise with channels last."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        maps = self.maps(images)
        return self.fc(maps.as_strided((len(maps), 80), (80, 1)))


class ViewedWeight(Plain):
    """Takes contiguous weights alone."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        self.conv2.weight.view(5, -1)
        return super().forward(images)


class Normalising(Plain):
    """Changes its input in place."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return super().forward(images.sub_(0.4).div_(0.25))


class Squeezing(Plain):
    """Ends in squeeze()."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return super().forward(images).squeeze()


class SqueezingInside(Plain):
    """Squeezes its pooled maps, and takes the channels of one image for its images."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        pooled = functional.adaptive_avg_pool2d(self.maps(images), 1).squeeze()
        return self.head(pooled).log_softmax(dim=-1).reshape(-1, 3) / pooled.shape[0] ** 0


class Paired(Plain):
    """Fails on one image by itself."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        if len(images) == 1:
            raise IndexError("one image is not enough")
        return super().forward(images)


class BatchStatistics(Plain):
    """Normalises by the batch in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = torch.relu(self.norm(self.conv1(images)))
        return self.fc(torch.relu(self.conv2(x)).flatten(1))


class InstanceStatistics(BatchStatistics):
    """Normalises each image by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(4)


class LeftInTraining(Plain):
    """Whose dropout cannot be turned off."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def train(self, mode: bool = True) -> LeftInTraining:
        """Dropout stays on."""
        super().train(mode)
        self.drop.train(True)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.fc(self.drop(self.maps(images)).flatten(1))


class Noisy(Plain):
    """Adds noise of its own between two modules."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        maps = self.maps(images)
        return self.fc((maps + 0.01 * torch.randn_like(maps)).flatten(1))


class Centring(Plain):
    """Takes the mean of the batch off, without any module."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        maps = self.maps(images)
        return self.fc((maps - maps.mean(dim=0)).flatten(1))


class Zeros(Plain):
    """One weight of zeros: of the head, as in vision transformers, or of a convolution."""

    def __init__(self, layer: str = "fc") -> None:
        super().__init__()
        nn.init.zeros_(getattr(self, layer).weight)


class EarlyExit(Plain):
    """Bright batches leave after the first convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.exit = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = torch.relu(self.conv1(images))
        if float(images.mean()) > 0.5:
            return self.exit(x.mean(dim=(2, 3)))
        return self.fc(torch.relu(self.conv2(x)).flatten(1))


class Routing(Plain):
    """Sends each image of a batch to one of two experts."""

    def __init__(self) -> None:
        super().__init__()
        self.bright, self.dark = nn.Linear(80, 3), nn.Linear(80, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = self.maps(images).flatten(1)
        bright = images.mean(dim=(1, 2, 3)) > 0.5
        scores = x.new_zeros(len(x), 3)
        if bright.any():
            scores[bright] = self.bright(x[bright])
        if not bright.all():
            scores[~bright] = self.dark(x[~bright])
        return scores + self.fc(x)


class Looping(Plain):
    """Shows itself one image after the other, without an axis of images."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        maps = [torch.relu(self.conv2(torch.relu(self.conv1(image)))) for image in images]
        return torch.stack([self.fc(one.flatten()) for one in maps])


class SeveralOutputs(Plain):
    """Gives two heads in a mapping of a mapping, and something else."""

    def forward(self, images: Tensor) -> dict[str, object]:
        """Two heads."""
        scores = super().forward(images)
        return {"heads": {"kind": scores, "side": scores[:, :2]}, "count": len(images)}


class Yielding(Plain):
    """Gives its scores as a generator that computes them when it is read."""

    def forward(self, images: Tensor):
        """One output."""
        x = self.maps(images).flatten(1)
        yield self.fc(x)


class OneLogit(Plain):
    """Tells two classes apart by one number."""

    def __init__(self, end: str = "column") -> None:
        super().__init__(classes=1)
        self.end = end

    def forward(self, images: Tensor) -> Tensor:
        """One number an image, in one of the forms in which people give it."""
        z = super().forward(images)
        if self.end == "probability":
            return torch.sigmoid(z).squeeze(1)
        return {"column": z, "flat": z[:, 0], "squeezed": z.squeeze()}[self.end]


class Typed(Plain):
    """Has weights of another type."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.to(getattr(torch, dtype))


class FullyConvolutional(Plain):
    """Leaves one position: (n, classes, 1, 1)."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return super().forward(images)[:, :, None, None]


class Ending(Plain):
    """Ends in a softmax, or in its logarithm."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.end = end

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, or their logarithms."""
        return getattr(torch, self.end)(super().forward(images), dim=1)


class Auxiliary(Plain):
    """Gives the scores of a second classifier too, and its features, but only in training."""

    def __init__(self, named: bool = False) -> None:
        super().__init__()
        self.named = named
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.side = nn.Linear(4, 3)

    def forward(self, images: Tensor):
        """Logits."""
        scores = super().forward(images)
        if not self.training:
            return scores
        features = self.conv1(images).mean(dim=(2, 3))
        if self.named:
            return {"features": features, "side": self.side(features), "logits": scores}
        return scores, features, self.side(features)


class Lazy(Plain):
    """Learns the width of its head from the first images."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.LazyLinear(3)


class FailsInTraining(Plain):
    """Takes a batch of one in evaluation alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(80)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.fc(self.norm(self.maps(images).flatten(1)))


class Failing(Plain):
    """Raises an exception of its own kind."""

    def forward(self, images: Tensor) -> Tensor:
        """Nothing."""
        raise LookupError("no such species\nand more")


class Volumes(nn.Module):
    """3-D convolutions for volumes (1, 5, 6, 7)."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.conv1, self.conv2 = nn.Conv3d(1, 3, 3), nn.Conv3d(3, 4, 2)
            self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = torch.relu(self.conv2(torch.relu(self.conv1(images))))
        return self.fc(x.mean(dim=(2, 3, 4)))


class Series(nn.Module):
    """1-D convolutions for series (3, 20)."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.conv = nn.Conv1d(3, 4, 5)
            self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.fc(torch.relu(self.conv(images)).mean(dim=2))


class Vectors(nn.Sequential):
    """Fully connected layers for vectors (7,)."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            super().__init__(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))


def exported() -> nn.Module:
    """A program of torch.export."""
    batch = torch.export.Dim("batch", min=1, max=64)
    images = torch.randn(2, 2, 6, 6)
    program = torch.export.export(Plain().eval(), (images,), dynamic_shapes={"images": {0: batch}})
    return program.module()


def quantised() -> nn.Module:
    """Convolutions as they are, and a dynamically quantised head."""
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(Plain().eval(), {nn.Linear}, dtype=torch.qint8)


def scripted() -> nn.Module:
    """A network that is compiled as a whole."""
    return torch.jit.script(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten()).eval())


def with_computed_weight(how: str) -> nn.Module:
    """A convolution whose weight is an attribute that a hook computes before each call."""
    model = Plain().eval()
    if how == "pruned":
        prune.l1_unstructured(model.conv2, "weight", 0.5)
    else:
        getattr(nn.utils, how)(model.conv2)
    return model


def partly_scripted() -> nn.Module:
    """A network with one traced part."""
    model = Plain().eval()
    model.conv2 = torch.jit.trace(model.conv2, torch.rand(1, 4, 6, 6))
    return model
