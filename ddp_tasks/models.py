"""Classifiers: opened from a run file with safe checkpoints, and told apart by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from ddp_tasks import factories
from schemas.parameters import ModelParameters, RunError


def open_model(parameters: ModelParameters) -> nn.Module:
    """The classifier that a run file describes, with its weights, in evaluation mode.

    Raises
    ------
    RunError
        If the factory fails or gives no network, or the weights are missing or do not fit.
    """
    model = factories.call(parameters.factory, parameters.kwargs)
    if not isinstance(model, nn.Module):
        raise RunError(
            f"model.factory {parameters.factory!r} gave a {type(model).__name__}, not a network "
            "(torch.nn.Module)"
        )
    if parameters.weights is not None:
        file = parameters.weights_file
        state = read_checkpoint(file) if file else _torchvision_weights(parameters)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise RunError(
                f"model.weights {parameters.weights!r} do not fit {parameters.factory!r}: {error}"
            ) from None
    return model.eval().requires_grad_(False)


def read_checkpoint(path: Path) -> Mapping[str, Tensor]:
    """A state dict from a file, or from its key ``state_dict``; no code in it is run.

    Raises
    ------
    RunError
        If there is no such file, or it holds anything but tensors by name.
    """
    if not path.is_file():
        raise RunError(f"model.weights: file {str(path)!r} does not exist")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises whatever the file's bytes provoke
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RunError(f"model.weights: {str(path)!r} is no checkpoint: {reason}") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise RunError(f"model.weights: {str(path)!r} holds no state dict (tensors by name)")
    return content


def model_digest(model: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, names included."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        hashed.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return hashed.hexdigest()


def _torchvision_weights(parameters: ModelParameters) -> Mapping[str, Tensor]:
    name = str(parameters.weights)
    try:
        if "." in name:
            weights = torchvision.models.get_weight(name)
        else:
            architecture = parameters.factory.rpartition(":")[2]
            weights = torchvision.models.get_model_weights(architecture)[name]
    except (KeyError, ValueError) as error:
        raise RunError(
            f"model.weights {name!r} is neither a file (a path with '/' or ending in .pt, .pth, "
            f".bin or .ckpt) nor a torchvision weights name: {error}"
        ) from None
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise RunError(f"model.weights {name!r} could not be downloaded: {error}") from None
    return state
