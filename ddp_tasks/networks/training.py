"""Training a classifier, for runs without weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.class_scores import are_probabilities, scores_in_training, whole_output
from ddp_tasks.networks.tracing import trace_layers
from schemas.parameters import TrainingParameters

#: Weight of an auxiliary classifier beside the network's own (Szegedy et al. 2015, section 5).
AUXILIARY_WEIGHT = 0.3

#: Least probability: zero would have an infinite loss and no gradient.
_LEAST_PROBABILITY = 1e-7


def train(
    build: Callable[[], nn.Module],
    images: ImageSet,
    parameters: TrainingParameters,
    done: Callable[[int, Tensor], None] = lambda images, loss: None,
    output: str | None = None,
) -> nn.Module:
    """Build a classifier and train it on labelled images.

    It uses Adam with cross-entropy; the learning rate falls along a half cosine to zero. The seed
    fixes the first weights and the order of the images, so one machine trains the same network
    twice. A last batch of an epoch that is not full is dropped; the next epoch draws anew. One
    logit is trained with binary cross-entropy, which is the cross-entropy of 0 and the logit.

    Parameters
    ----------
    build
        gives the network in evaluation mode; called under the seed, which fixes its first
        weights.
    images
        the training set, float tensors as ``batch`` gives them.
    done
        called with the number of images and their loss, shape (), after each step.
    output
        as in ``class_scores``: the part of the network's output that holds the scores.

    Returns
    -------
    the network, on the CPU, in evaluation mode, without gradients
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs = torch.cat([images.batch(i, min(i + 1024, len(images))) for i in _steps(images, 1024)])
    targets = torch.from_numpy(images.target)
    batch_size = min(parameters.batch_size, len(images))
    steps_an_epoch = len(images) // batch_size
    generator = torch.Generator().manual_seed(parameters.seed)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(parameters.seed)
        model = build()
        loss = _Loss.of(model, inputs[:2], output)
        model.to(device).train().requires_grad_(True)
        optimizer = torch.optim.Adam(model.parameters(), lr=parameters.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=parameters.epochs * steps_an_epoch
        )
        for _ in range(parameters.epochs):
            order = torch.randperm(len(images), generator=generator)
            for step in range(steps_an_epoch):
                chosen = order[step * batch_size : (step + 1) * batch_size]
                optimizer.zero_grad()
                of_step = loss(inputs[chosen].to(device), targets[chosen].to(device))
                of_step.backward()
                optimizer.step()
                schedule.step()
                done(batch_size, of_step.detach())
    return model.cpu().eval().requires_grad_(False)


def images_trained_on(images: int, parameters: TrainingParameters) -> int:
    """Number of images that ``train`` uses in all, counting repeats."""
    batch_size = min(parameters.batch_size, images)
    return parameters.epochs * (images // batch_size) * batch_size


@dataclass(frozen=True)
class _Loss:
    """The loss that training minimises."""

    model: nn.Module
    convention: CallingConvention
    classes: int
    softmaxed: bool
    """whether the scores are probabilities already."""

    @classmethod
    def of(cls, model: nn.Module, images: Tensor, output: str | None) -> _Loss:
        """The loss of a network in evaluation mode, which is run on images, shape (n, ...)."""
        # Random numbers drawn here, as for weights of lazy modules, do not change later draws.
        with torch.random.fork_rng():
            layers = trace_layers(model, images, output=output, alone=True)
            convention = layers.convention
            with torch.no_grad():
                given = convention.inputs(images)
                scores = convention.scores(whole_output(model(given)), len(given))
        return cls(model, convention, layers.outputs, are_probabilities(scores.float()))

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of a batch, plus the weighted one of each auxiliary classifier."""
        given = self._given(inputs)
        all_scores = scores_in_training(
            whole_output(self.model(given)),
            len(given),
            self.convention.output,
            classes=self.classes,
            probability=self.convention.sigmoid,
        )
        losses = []
        for scores in all_scores:
            rows = scores[: len(targets)].to(torch.promote_types(scores.dtype, torch.float32))
            if self.softmaxed:
                losses.append(nll_loss(rows.clamp_min(_LEAST_PROBABILITY).log(), targets))
            else:
                losses.append(cross_entropy(rows, targets))
        own, *auxiliary = losses
        return own + AUXILIARY_WEIGHT * sum(auxiliary) if auxiliary else own

    def _given(self, inputs: Tensor) -> Tensor:
        # A network for both memory layouts gets that of the images: the other would add up in
        # another order, and train another network.
        any_layout = self.convention.channels_last and inputs.dtype == self.convention.dtype
        enough = len(inputs) >= self.convention.fewest
        return inputs if any_layout and enough else self.convention.inputs(inputs)


def _steps(images: ImageSet, size: int) -> range:
    return range(0, len(images), size)
