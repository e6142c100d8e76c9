"""A run file for a person's own network and pictures, filled in with what is found in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchvision import models as torchvision_models

from ddp_tasks.callables import factories
from ddp_tasks.images.picture_folders import PictureFolder, look_at
from ddp_tasks.networks.checkpoints import MisfitError
from ddp_tasks.networks.fitting_variants import fitting_variant
from ddp_tasks.networks.models import open_model
from flows.checks import check_run
from flows.output_folder import RunFiles
from flows.texts.run_file import Guess, run_file_text
from schemas.names import file_name
from schemas.parameters import ModelParameters
from schemas.run_error import RunError
from schemas.run_files import load_run
from schemas.shown import shown

#: Sides of pictures of many sizes, as ImageNet's networks take them.
_RESIZE, _CROP = 256, 224
#: Images of each class that a run takes at first; a class that is split needs two.
_PER_CLASS, _FEWEST = 50, 2

#: Options by the keys that they set.
_OPTIONS = {"model.weights": "--weights", "model.factory": "--model", "images": "--images"}


def write_run_file(
    factory: str, images: Path, weights: str | None = None, out: Path | None = None
) -> Path:
    """Write a commented run file that runs as it is.

    Parameters
    ----------
    factory
        of the network, ``module:callable`` or ``file.py:callable``.
    images
        a folder with one folder of pictures for each class, or of a data set of torchvision.
    weights
        a checkpoint, or the name of torchvision's weights.
    out
        the file; None takes the name of the network.

    Returns
    -------
    the file

    Raises
    ------
    RunError
        If the file exists, or network, weights and pictures cannot be opened or do not fit.
    """
    file = (out or Path(f"{file_name(factory.rpartition(':')[2])}.yaml")).expanduser().resolve()
    if os.path.lexists(file) or not file.parent.is_dir() or file.suffix not in {".yaml", ".yml"}:
        raise RunError(
            f"out: {shown(repr(str(file)))} is refused; name a new .yaml file in a folder that "
            "exists",
            change=("out",),
        )
    with _changed_by_options():
        model, found = _model(factory, weights), look_at(images)
    guess = Guess(
        model=_as_written(model, file.parent),
        images=found,
        transform=_transform(found, model),
        per_class=_PER_CLASS,
        split=found.fewest is None or found.fewest >= _FEWEST,
    )
    part = file.with_name(f".{file.name}.part.yaml")
    try:
        part.write_text(run_file_text(guess), "utf-8")
        run = load_run(str(part)).model_copy(update={"name": file.stem})
        with _changed_by_options():
            check_run(run, RunFiles.of(Path("ddp-results") / file_name(file.stem)))
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    return file


@contextmanager
def _changed_by_options() -> Iterator[None]:
    """Let refusals name options of the command in place of keys, which no file has yet."""
    try:
        yield
    except RunError as error:
        options = dict.fromkeys(
            option
            for key in error.change
            for prefix, option in _OPTIONS.items()
            if key == prefix or key.startswith(f"{prefix}.")
        )
        error.change = tuple(options)
        raise


def _model(factory: str, weights: str | None) -> ModelParameters:
    """The network's parameters; its arguments are those of the variant that the weights fit."""
    place, _, name = factory.rpartition(":")
    if place.endswith(".py"):
        factory = f"{Path(place).expanduser().resolve()}:{name}"
    if weights is not None and ("/" in weights or Path(weights).exists()):
        weights = str(Path(weights).expanduser().resolve())
    if not place or not name:
        raise RunError(
            f"--model {factory!r} is refused; module:callable or file.py:callable names a network"
        )
    asked = ModelParameters(factory=factory, weights=weights)
    try:
        open_model(asked)
    except RunError as error:
        if not isinstance(error.__cause__, MisfitError) or asked.weights_file is None:
            raise
        variant = fitting_variant(factory, {}, asked.weights_file)
        if variant is None or variant[0] != factory:
            raise
        return asked.model_copy(update={"kwargs": variant[1]})
    return asked


def _as_written(model: ModelParameters, folder: Path) -> ModelParameters:
    """The same parameters, with files below a folder named from there."""
    place, _, name = model.factory.rpartition(":")
    update: dict[str, Any] = {}
    if place.endswith(".py") and Path(place).is_relative_to(folder):
        update["factory"] = f"{Path(place).relative_to(folder)}:{name}"
    if (file := model.weights_file) is not None and file.is_relative_to(folder):
        update["weights"] = f"./{file.relative_to(folder)}"
    return model.model_copy(update=update)


def _transform(found: PictureFolder, model: ModelParameters) -> Mapping[str, Any]:
    """How pictures become inputs: as torchvision's weights say, or as the pictures are."""
    if model.weights is not None and model.weights_file is None:
        builder = factories.resolve(model.factory)
        known = torchvision_models.get_model_weights(builder)
        made = known[model.weights.rpartition(".")[2]].transforms()
        return {
            "resize": made.resize_size[0],
            "crop": made.crop_size[0],
            "interpolation": made.interpolation.value,
            "mean": [round(x, 4) for x in made.mean],
            "std": [round(x, 4) for x in made.std],
        }
    many = len(found.sizes) > 1
    return {
        **({"resize": _RESIZE, "crop": _CROP} if many else {}),
        **({"mean": list(found.mean), "std": list(found.std)} if found.mean else {}),
    }
