"""Pruned networks as files: weights, and a run file that ``ddp run`` takes as it is."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from ddp_tasks.files.whole import write_whole
from ddp_tasks.queries.pruning import PrunedNetwork, words
from schemas.parameters import RunParameters
from schemas.recording import SECRET, recorded
from schemas.run_error import RunError
from schemas.run_files import check

FACTORY = "ddp_tasks.networks:pruned"


def network_name(criterion: str, asked: float) -> str:
    """The name of a pruned network's files, without their endings."""
    return f"{criterion}-{asked:g}"


def check_folder(folder: Path, names: list[str]) -> None:
    """Refuse a folder in which one of some files exists already.

    Raises
    ------
    RunError
        Naming the file.
    """
    for name in names:
        if (folder / name).is_symlink() or (folder / name).exists():
            raise RunError(
                f"out: {folder / name} exists already; remove it, or name another folder",
                change=("out",),
            )


def write_network(
    run: RunParameters, pruned: PrunedNetwork, model: nn.Module, folder: Path
) -> tuple[Path, Path]:
    """Write a pruned network's weights, and a run file of the run with that network.

    Secrets are not written: the run file has ``schemas.recording.SECRET`` in their place.

    Parameters
    ----------
    run
        that the network comes from, with the present places of model and images.
    model
        on the processor.
    folder
        exists.

    Returns
    -------
    the weights, a state dict that ``torch.load`` reads with ``weights_only=True``; the run file

    Raises
    ------
    RunError
        If a file cannot be written.
    """
    name = network_name(pruned.criterion, pruned.asked)
    weights, file = folder / f"{name}.pt", folder / f"{name}.yaml"
    content = io.BytesIO()
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    torch.save(state, content)
    write_whole(weights, content.getvalue())
    share = f"{pruned.asked:g} of its parameters, by {words(pruned.criterion)}"
    written = _run_file(run, pruned, weights.name)
    check(RunParameters, written, str(file))
    text = yaml.safe_dump(written, sort_keys=False, allow_unicode=True)
    write_whole(file, f"# The network of the run {run.name!r} with {share}.\n{text}")
    return weights, file


def _run_file(run: RunParameters, pruned: PrunedNetwork, weights: str) -> dict[str, Any]:
    """The run with the pruned network: all layers at the run's own levels, on any cluster."""
    left_out: Any = {"name": True, "model": True, "layers": True, "cluster": True}
    left_out |= {"significance": {"layers"}, "images": {"factory", "kwargs"}}
    rest = run.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=left_out)
    known = recorded(run)
    model: dict[str, Any] = {
        "factory": FACTORY,
        "kwargs": {
            "factory": _placed(run.model.factory),
            "kwargs": _without_secrets(run.model.kwargs, known.model.kwargs),
            "vectors": dict(pruned.vectors),
        },
        "weights": f"./{weights}",
    }
    if run.model.output is not None:
        model["output"] = run.model.output
    images = {
        "factory": _placed(run.images.factory),
        "kwargs": _without_secrets(run.images.kwargs, known.images.kwargs),
        **rest.pop("images", {}),
    }
    name = f"{run.name}, {network_name(pruned.criterion, pruned.asked)}"
    return {"name": name, "model": model, "images": images, **rest}


def _placed(factory: str) -> str:
    """A factory with the absolute path of its file, so that it is found from any folder."""
    place, _, attribute = factory.rpartition(":")
    if not place.endswith(".py"):
        return factory
    return f"{Path(place).expanduser().resolve()}:{attribute}"


def _without_secrets(given: Any, known: Any) -> Any:
    """Values with what a store would not record as a secret left out."""
    if known == SECRET:
        return SECRET
    if isinstance(given, Mapping):
        # Keys that are secrets themselves are not kept either.
        pairs = zip(given.items(), known.items(), strict=True)
        return {k: _without_secrets(v, other) for (_, v), (k, other) in pairs}
    if isinstance(given, list):
        return [_without_secrets(v, other) for v, other in zip(given, known, strict=True)]
    return given
