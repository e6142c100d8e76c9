"""A finished run opened again from its folder: its store, and the model and images it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from ddp_tasks.callables.trust import check_given, check_trusted, keys_of
from ddp_tasks.images.contents import UNKNOWN
from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.networks.models import model_digest
from ddp_tasks.prepared_run import Prepared, prepare
from ddp_tasks.queries.recorded_images import (
    image_position,
    recorded_contents,
    replaced_sentence,
)
from ddp_tasks.store import groups as store
from ddp_tasks.store.identity import changed_code, code_of, same_images
from ddp_tasks.weights.tensor_svd import TensorSVD
from schemas.names import group_path
from schemas.parameters import ModelParameters, RunError, RunParameters
from schemas.run_files import load_run, nearest, recorded_run
from schemas.variables import FORMAT_VERSION


@dataclass(frozen=True)
class FinishedRun:
    """What a run left in its folder."""

    store: Path
    run: RunParameters
    """as recorded, with the present path of the weights."""
    attributes: Mapping[str, str]
    """of the store's root group."""
    layers: xr.Dataset
    """the store's group ``layers``, loaded."""
    signals: xr.Dataset
    """the store's group ``signals``; read where it is used."""
    trusted: bool = False
    """whether a person allowed calling what the store names."""
    own_keys: frozenset[str] = frozenset()
    """dotted keys that a person gave instead of the store."""

    def check_layer(self, layer: str) -> None:
        """Refuse a layer that the store does not hold.

        Raises
        ------
        RunError
            Naming the nearest, and all of them.
        """
        known = self.layers["layer"].to_numpy().tolist()
        if layer not in known:
            raise RunError(
                f"layer {layer!r} is not in {self.store}{nearest(layer, known)}; layers: "
                f"{', '.join(known)}"
            )

    def position(self, image: str) -> int:
        """Position in the run of the image with this id.

        Raises
        ------
        RunError
            If there is none, naming the number of images, the first, the last and the nearest.
        """
        return image_position(self.signals["image"].to_numpy().tolist(), image, self.store)

    def on_cluster(self, cluster: str) -> FinishedRun:
        """The same run on another cluster; see ``RunParameters.cluster``."""
        return replace(self, run=self.run.model_copy(update={"cluster": cluster}))

    def prepared(self) -> Prepared:
        """Open the run's model and images, and make sure that they are those of the store.

        Raises
        ------
        RunError
            If they are not trusted, do not open, or their code, weights or images are not those
            that the store was made with.
        """
        check_given(self.run)
        if not self.trusted:
            check_trusted(self.run, self.own_keys, self.store.parent)
        if differences := changed_code(json.loads(self.attributes["code"]), code_of(self.run)):
            raise RunError(
                f"{'; '.join(differences)} from what {self.store} was made with",
                change=("model.factory",),
            )
        opened = prepare(self.run, labelled=False)
        prepared = replace(opened, images=opened.images.as_stored(self.signals))
        if model_digest(prepared.model) != self.attributes["model_digest"]:
            weights = self.run.model.weights
            raise RunError(
                f"the model opened from {weights or self.run.model.factory} is not the one that "
                f"{self.store} was made with: their digests differ",
                change=("model.weights",),
            )
        if not same_images(prepared.images.digest(), self.attributes["images_digest"]):
            raise RunError(
                f"the images opened are not those that {self.store} was made with: their digests "
                "differ; images.kwargs says where they lie",
                change=("images.kwargs.KEY",),
            )
        return prepared

    def check_image(self, images: ImageSet, position: int) -> None:
        """Refuse an image that was replaced since its signals were written.

        Raises
        ------
        RunError
            Naming it, and what differs.
        """
        (recorded,) = recorded_contents(self.store, slice(position, position + 1))
        if recorded != UNKNOWN and (change := images.changed(position, recorded)):
            changed = {images.ids[position]: change}
            raise RunError(f"{self.store} was made from other images: {replaced_sentence(changed)}")

    def decomposition(self, layer: str, W: Tensor, groups: int) -> TensorSVD:
        """The stored decomposition of one layer.

        Where the store leaves V out, it follows from W̄ᵀ uᵢ = sᵢ vᵢ.

        Parameters
        ----------
        W
            shape (d, c*k*k / groups); the layer's unfolded weight.
        """
        stored = store.read(self.store, group_path("decomposition", layer)).load()
        U, S = (torch.from_numpy(stored[name].to_numpy()).to(torch.float64) for name in "US")
        block = torch.from_numpy(self.layers["block"].sel(layer=layer).to_numpy()[: len(S)])
        if "V" in stored:
            V = torch.from_numpy(stored["V"].to_numpy()).to(torch.float64)
        else:
            blocks = W.detach().to(torch.float64).reshape(groups, -1, W.shape[1])
            V = torch.block_diag(*blocks).T @ U / S
        return TensorSVD(U, S, V, block)


def open_finished(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    trust: bool = False,
    run_file: str | None = None,
) -> FinishedRun:
    """Open the store of a finished run; its model and images are not opened yet.

    Parameters
    ----------
    folder
        that the run was written to.
    overrides
        ``key=value`` texts that change what is recorded, such as where the images lie.
    trust
        call what the store names, though a store is data that anybody may have written.
    run_file
        a person's own run file or preset, whose model and images replace the store's.

    Raises
    ------
    RunError
        If there is no store of this format, or an override is refused.
    """
    path = folder.expanduser() / "store.zarr"
    attributes = store.root_attributes(path)
    if attributes["format_version"] != str(FORMAT_VERSION):
        raise RunError(
            f"{path} has format version {attributes['format_version']}, this is {FORMAT_VERSION}"
        )
    run = recorded_run(attributes["run_parameters"], overrides if not run_file else (), str(path))
    if run_file is not None:
        own = load_run(run_file, overrides)
        run = run.model_copy(update={"model": own.model, "images": own.images})
    changed = any(o.partition("=")[0].strip() == "model.weights" for o in overrides)
    if not changed:
        run = run.model_copy(update={"model": _with_weights(run.model, path.parent)})
    return FinishedRun(
        store=path,
        run=run,
        trusted=trust or run_file is not None,
        own_keys=frozenset(keys_of(overrides)),
        attributes=attributes,
        layers=store.read(path, "layers").load(),
        signals=store.read(path, "signals"),
    )


def _with_weights(model: ModelParameters, folder: Path) -> ModelParameters:
    """The model with the present path of its weights.

    A run that trained its network records the checkpoint that it wrote beside its store. The
    folder may have been moved since, so a checkpoint of that name beside the store is preferred.
    """
    recorded = model.weights_file
    if recorded is None and model.training is None:
        return model
    beside = folder / (recorded.name if recorded else "checkpoint.pt")
    if not beside.is_file() and model.training is None:
        return model
    # A training whose checkpoint is gone is refused where the weights are read.
    return model.model_copy(update={"weights": str(beside.resolve()), "training": None})
