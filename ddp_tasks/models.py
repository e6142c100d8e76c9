"""Classifiers: opened from a run file with safe checkpoints, and told apart by digest."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import torchvision
from torch import Tensor, nn

from ddp_tasks import factories
from schemas.parameters import ModelParameters, RunError

#: The key that names another state dict.
_CHANGE = ("model.weights",)


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
    # A program of torch.export stays in the mode that it was exported in.
    with suppress(NotImplementedError):
        model.eval()
    return model.requires_grad_(False)


def read_checkpoint(path: Path) -> Mapping[str, Tensor]:
    """A state dict from a file, or from its key ``state_dict``; no code in it is run.

    Raises
    ------
    RunError
        If there is no such file, or it holds anything but tensors by name.
    """
    if not path.is_file():
        raise RunError(_no_file(path), change=_CHANGE)
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
    for name, value in sorted(model.state_dict().items()):
        _hash_value(hashed, name, value)
    return hashed.hexdigest()


def _hash_value(hashed: Any, name: str, value: Any) -> None:
    """Add an entry of a state dict to a digest; quantised modules keep tuples of tensors."""
    if isinstance(value, tuple | list):
        for place, part in enumerate(value):
            _hash_value(hashed, f"{name}.{place}", part)
    elif not isinstance(value, Tensor):
        hashed.update(f"{name} {value!r}\n".encode())
    elif value.is_quantized:
        hashed.update(f"{name} {value.dtype} {value.qscheme()}\n".encode())
        _hash_value(hashed, name, value.dequantize())
    else:
        hashed.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        hashed.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def missing_weights(parameters: ModelParameters) -> str:
    """What a run's weights lack on this machine, and how to give it; empty where they are here.

    Nothing is downloaded, and a file is not opened.
    """
    if parameters.weights is None:
        return ""
    if (file := parameters.weights_file) is not None:
        return "" if file.is_file() else _no_file(file)
    try:
        url: str = _torchvision_entry(parameters).url
    except RunError as error:
        return str(error)
    if (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name).is_file():
        return ""
    return (
        f"model.weights: {parameters.weights} of torchvision are not on this machine and would be "
        "downloaded"
    )


def _no_file(path: Path) -> str:
    return f"model.weights: file {str(path)!r} does not exist"


def _torchvision_entry(parameters: ModelParameters) -> Any:
    """The weights of torchvision that a name stands for.

    Raises
    ------
    RunError
        If there are no such weights.
    """
    name = str(parameters.weights)
    try:
        if "." in name:
            return torchvision.models.get_weight(name)
        architecture = parameters.factory.rpartition(":")[2]
        return torchvision.models.get_model_weights(architecture)[name]
    except (KeyError, ValueError) as error:
        raise RunError(
            f"model.weights {name!r} is neither a file (a path with '/' or ending in .pt, .pth, "
            f".bin or .ckpt) nor a torchvision weights name: {error}"
        ) from None


def _torchvision_weights(parameters: ModelParameters) -> Mapping[str, Tensor]:
    weights = _torchvision_entry(parameters)
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True
        )
    except OSError as error:
        raise RunError(
            f"model.weights {parameters.weights!r} could not be downloaded: {error}",
            change=_CHANGE,
        ) from None
    return state
