"""Classifiers: opened from a run file with safe checkpoints, and identified by digest."""

from __future__ import annotations

import hashlib
import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ddp_tasks.callables import factories
from ddp_tasks.callables.called_code import ENDINGS
from ddp_tasks.networks.checkpoint_files import is_checkpoint_file
from ddp_tasks.networks.checkpoints import MisfitError, Weights, is_count, load_checkpoint
from ddp_tasks.networks.fitting_variants import SECONDS, fitting_variant, shown_variant
from schemas.parameters import ModelParameters, RunError
from schemas.shown import error_shown

#: The key with which a run names another checkpoint.
_CHANGE = ("model.weights",)

#: Most tensors that a message names.
_SHOWN = 5


def open_model(parameters: ModelParameters) -> nn.Module:
    """The classifier that a run file describes, with its weights, in evaluation mode.

    Raises
    ------
    RunError
        If the factory fails or gives no network, or if the weights are missing, do not fit or are
        not finite.
    """
    return open_weighted(parameters)[0]


def open_weighted(parameters: ModelParameters) -> tuple[nn.Module, Weights | None]:
    """As ``open_model``, with the part of a checkpoint's file that became the weights, or None."""
    model, taken = built(parameters), None
    if parameters.weights_file is not None:
        taken = load_weights_file(model, parameters)
    elif parameters.weights is not None:
        _load_torchvision_weights(model, parameters)
    source = f"model.weights {parameters.weights!r}"
    if parameters.weights is None:
        source = f"the weights that model.factory {parameters.factory!r} gives"
    # Lazy modules make their weights when they get the first images.
    check_weights(model, source, lazy=parameters.training is not None)
    try:
        model.eval()
    except NotImplementedError:
        pass  # a program of torch.export keeps the mode in which it was exported
    except ENDINGS as error:  # the person's own code
        raise RunError(
            f"model.factory {parameters.factory!r} gave a network whose eval() fails: "
            f"{error_shown(error)}"
        ) from error
    # One by one: the only way for a network of torch.jit, which is refused only when traced.
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model, taken


def built(parameters: ModelParameters) -> nn.Module:
    """The network that a run's factory gives, without wrappers.

    Raises
    ------
    RunError
        If the factory fails or gives no network.
    """
    model = factories.call(parameters.factory, parameters.kwargs)
    if not isinstance(model, nn.Module):
        raise RunError(
            f"model.factory {parameters.factory!r} gave a {type(model).__name__}, not a network "
            "(torch.nn.Module)"
        )
    return unwrapped(model)


def load_weights_file(
    model: nn.Module, parameters: ModelParameters, *, mapped: bool = False, seconds: float = SECONDS
) -> Weights:
    """Load a run's checkpoint into its network, or refuse it with the variant that it fits.

    Parameters
    ----------
    mapped
        as in ``load_checkpoint``.
    seconds
        that may be spent on looking for a variant.

    Raises
    ------
    RunError
        As in ``load_checkpoint``; there must be a file of weights.
    """
    file, asked = parameters.weights_file, (parameters.factory, parameters.kwargs)
    if file is None:
        raise RunError(f"model.weights: {parameters.weights!r} is no file")
    try:
        return load_checkpoint(model, file, parameters.entry, repr(asked[0]), mapped=mapped)
    except MisfitError as misfit:
        if (variant := fitting_variant(*asked, file, seconds)) is None:
            raise
        raise MisfitError(str(misfit), shown_variant(variant, *asked)) from misfit


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside wrappers that spread it over devices or compile it."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def model_digest(model: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, with their names."""
    hashed = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            hashed.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        else:
            hashed.update(f"{name} {type(value).__name__}\n".encode())
        _hash(value, hashed)
    return hashed.hexdigest()


def _hash(value: Any, hashed: Any) -> None:
    """Add a value of a state dict to a hash: a tensor, or what quantised layers keep instead."""
    if isinstance(value, Tensor) and value.is_quantized:
        _hash(_scales(value), hashed)
        value = value.int_repr()
    if isinstance(value, Tensor) and hasattr(value, "__tensor_flatten__"):
        # A special class of tensors, such as torchao's, is made of other tensors.
        names, context = value.__tensor_flatten__()
        _hash([*(getattr(value, name) for name in names), str(context)], hashed)
    elif isinstance(value, Tensor):
        dense = value.detach().to_dense() if value.layout is not torch.strided else value.detach()
        plain = dense.resolve_conj().resolve_neg().cpu().contiguous().flatten()
        hashed.update(plain.view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        _hash(list(value.items()), hashed)
    elif isinstance(value, list | tuple):
        for part in value:
            _hash(part, hashed)
    elif isinstance(value, io.BytesIO | bytes):
        hashed.update(value.getvalue() if isinstance(value, io.BytesIO) else value)
    else:
        # The address in a default text differs between processes.
        hashed.update(re.sub(r" at 0x[0-9a-f]+", "", f"{value!s}\n").encode())


def _scales(value: Tensor) -> list[Any]:
    if value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return [value.q_scale(), value.q_zero_point()]
    return [value.q_per_channel_scales(), value.q_per_channel_zero_points()]


def check_weights(
    model: nn.Module, source: str, *, lazy: bool = False, counts: bool = True
) -> None:
    """Refuse weights that are missing or NaN, and parameters that are not finite.

    Buffers may be infinite, as masks are.

    Parameters
    ----------
    source
        where the weights come from, for the message.
    lazy
        whether weights may be missing that their module makes later.
    counts
        whether BatchNorms' counts of batches must hold data.

    Raises
    ------
    RunError
        Naming the tensors.
    """
    parameter_names = {name for name, _ in model.named_parameters()}
    empty, broken, all_tensors = [], [], 0
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            continue
        all_tensors += 1
        if is_lazy(value):
            empty += [] if lazy else [name]
        elif value.is_meta:
            empty += [name] if counts or not is_count(name) else []
        elif value.is_floating_point() and not value.is_quantized:
            numbers = value.detach().float() if value.element_size() == 1 else value.detach()
            bad = ~numbers.isfinite() if name in parameter_names else numbers.isnan()
            if times := int(bad.sum()):
                broken.append(f"{name} ({times:,} of {value.numel():,})")
    for what, names in (("hold no data", empty), ("hold NaN or infinity", broken)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise RunError(
                f"{source}: {len(names)} of {all_tensors} tensors {what}: "
                f"{', '.join(names[:_SHOWN])}{more}"
            )


def weights_state(parameters: ModelParameters) -> tuple[int, ...]:
    """Numbers that change whenever a weights file is written or replaced, whatever its date."""
    file = parameters.weights_file
    if file is None or not is_checkpoint_file(file):
        return ()
    now = file.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def missing_weights(parameters: ModelParameters) -> str:
    """Which of a run's weights are missing on this machine; empty if none.

    Nothing is downloaded, and no file is opened.
    """
    if parameters.weights is None:
        return ""
    if (file := parameters.weights_file) is not None:
        return "" if is_checkpoint_file(file) else _no_file(file)
    try:
        url: str = torchvision_entry(parameters).url
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


def torchvision_entry(parameters: ModelParameters) -> Any:
    """The weights of torchvision that a run names.

    Raises
    ------
    RunError
        If there are no such weights.
    """
    import torchvision

    name = str(parameters.weights)
    try:
        if "." in name:
            return torchvision.models.get_weight(name)
        architecture = parameters.factory.rpartition(":")[2]
        return torchvision.models.get_model_weights(architecture)[name]
    except (KeyError, ValueError) as error:
        raise RunError(
            f"model.weights {name!r} is neither a file that exists nor a torchvision weights name: "
            f"{error}"
        ) from None


def _load_torchvision_weights(model: nn.Module, parameters: ModelParameters) -> None:
    if parameters.entry is not None:
        raise RunError(
            f"model.entry: {parameters.entry!r} names a place in a file, but model.weights "
            f"{parameters.weights!r} is not a file"
        )
    weights = torchvision_entry(parameters)
    try:
        model.load_state_dict(weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True))
    except OSError as error:
        raise RunError(
            f"model.weights {parameters.weights!r} could not be downloaded: {error}",
            change=_CHANGE,
        ) from None
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise RunError(
            f"model.weights {parameters.weights!r} do not fit {parameters.factory!r}: "
            + "\n".join(line[:300] for line in lines[:_SHOWN])
        ) from None
