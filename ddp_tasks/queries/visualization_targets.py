"""Which optimised images are asked for: those of a whole run, or of some vectors of a layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.queries.findings import stated_vectors
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.store import groups
from ddp_tasks.visualization.targets import Target
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVector, signed_vector
from schemas.names import group_path
from schemas.parameters import RunError, RunParameters
from schemas.run_files import nearest
from schemas.visualization_parameters import VisualizationParameters

#: An equivalence class, by one of its singular vectors: v14, v14- or [v14⁺].
_EQUIVALENCE_CLASS = re.compile(r"\[?v(\d+)([-+⁺⁻]?)\]?")
#: Directions that such a name allows, the first preferred.
_SIGNS = {"": (1, -1), "+": (1,), "⁺": (1,), "-": (-1,), "⁻": (-1,)}


@dataclass(frozen=True)
class Wanted:
    """Singular vectors that one picture is asked for, and how well they tell classes apart."""

    members: tuple[SignedVector, ...]
    eta_squared: float = 0.0
    """the greatest η² of the vectors, on the images that choose."""
    rank: int = 0
    """0 for what a run makes first, 1 for what it makes then, and so on."""

    def targets(self, options: VisualizationParameters) -> list[Target]:
        """The images to be made: for each objective, as many as differ by intent."""
        return [
            Target.of(
                self.members,
                objective=objective,
                parametrization=options.parametrization,
                number=number,
                images=options.diverse,
            )
            for objective, number in product(options.objectives, range(options.diverse))
        ]


def wanted_by_run(run: RunParameters, path: Path) -> dict[str, list[Wanted]]:
    """What a run asks for, by layer; in each layer the most discriminating first.

    The vectors that the run's statements are about come first, then the equivalence classes of the
    hierarchies, then single vectors.

    Parameters
    ----------
    path
        of the run's store, which has its hierarchies.
    """
    options = run.visualizations
    if options.targets == "none":
        return {}
    wanted: dict[str, list[Wanted]] = {}
    significance = groups.read(path, "significance")
    stated = stated_vectors(run, path)
    for layer in groups.read(path, "layers")["layer"].to_numpy().tolist():
        of_layer = significance.sel(layer=layer)
        # Both directions, whichever are nodes of the hypergraph.
        table = LayerTable.of(of_layer, *run.significance.levels(layer))
        ranked: list[list[tuple[SignedVector, ...]]] = [
            [(vector,) for vector in stated.get(layer, [])],
            equivalence_classes(path, layer),
        ]
        if options.targets == "all":
            ranked.append([(signed_vector(i, DIRECTIONS),) for i in range(len(table.eta_squared))])
        wanted[layer] = _once(
            replace(_wanted(members, table), rank=rank)
            for rank, of_rank in enumerate(ranked)
            for members in of_rank
        )
    return wanted


def _once(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Everything that is asked for once, at its first rank; of each rank the most telling first."""
    first = {one.members: one for one in reversed(list(wanted))}
    return sorted(first.values(), key=lambda one: (one.rank, -one.eta_squared, one.members))


def _wanted(members: tuple[SignedVector, ...], table: LayerTable) -> Wanted:
    nodes = [2 * member.vector + (member.sign < 0) for member in members]
    return Wanted(members, float(np.nan_to_num(table.selection_eta_squared[nodes]).max()))


def most_telling(
    wanted: Mapping[str, Sequence[Wanted]], most: int | None
) -> dict[str, list[Wanted]]:
    """The most telling of all layers' targets, still by layer; all of them if ``most`` is None."""
    ranked = sorted(
        (
            (one.rank, -one.eta_squared, layer, place)
            for layer, of in wanted.items()
            for place, one in enumerate(of)
        )
    )
    chosen = {(layer, place) for _, _, layer, place in ranked[:most]}
    return {
        layer: [one for place, one in enumerate(of) if (layer, place) in chosen]
        for layer, of in wanted.items()
    }


def equivalence_classes(path: Path, layer: str) -> list[tuple[SignedVector, ...]]:
    """The singular vectors of each equivalence class of a layer, the most general first."""
    return members_of(groups.read(path, group_path("hierarchies", layer)))


def wanted_of_layer(
    run: RunParameters,
    path: Path,
    layer: str,
    *,
    vectors: Sequence[int] = (),
    classes: Sequence[str] = (),
    negative: bool = False,
) -> list[Wanted]:
    """What a person asks for by name; without names all equivalence classes of the layer.

    Parameters
    ----------
    vectors
        singular vectors, each a target of its own.
    classes
        equivalence classes, by one of their singular vectors, such as ``v14`` or ``v14-``; or
        target classes, whose significant vectors become one target.
    negative
        take the opposite direction of everything asked for.

    Raises
    ------
    RunError
        If a vector or class does not exist, or a class has no significant vector; it names those
        that there are.
    """
    chosen = list(dict.fromkeys(_of_vectors(path, layer, vectors)))
    chosen += [_of_class(run, path, layer, name) for name in classes]
    if not vectors and not classes:
        chosen = equivalence_classes(path, layer)
        if not chosen:
            raise RunError(
                f"layer {layer} has no equivalence class, as none of its singular vectors is "
                "significant for a class; name singular vectors instead"
            )
    sign = -1 if negative else 1
    return [
        Wanted(tuple(SignedVector(one.vector, sign * one.sign) for one in members))
        for members in dict.fromkeys(chosen)
    ]


def _of_vectors(
    path: Path, layer: str, vectors: Sequence[int]
) -> Iterator[tuple[SignedVector, ...]]:
    rank = int(groups.read(path, "layers")["rank"].sel(layer=layer))
    for vector in vectors:
        if not 0 <= vector < rank:
            raise RunError(
                f"vector: {vector} is refused; layer {layer} has singular vectors 0 to {rank - 1}"
            )
        yield (SignedVector(vector, 1),)


def _of_class(run: RunParameters, path: Path, layer: str, name: str) -> tuple[SignedVector, ...]:
    significance = groups.read(path, "significance").sel(layer=layer)
    directions = run.significance.directions
    table = LayerTable.of(significance, *run.significance.levels(layer), directions)
    if name in table.target_classes:
        members = np.flatnonzero(table.significant[table.target_classes.index(name)])
        if not len(members):
            raise RunError(
                f"class: no singular vector of layer {layer} is significant for {name!r}; name "
                "singular vectors instead"
            )
        return tuple(signed_vector(node, directions) for node in members.tolist())
    known = equivalence_classes(path, layer)
    if match := _EQUIVALENCE_CLASS.fullmatch(name):
        for sign in _SIGNS[match[2]]:
            one = SignedVector(int(match[1]), sign)
            if of_vector := [members for members in known if one in members]:
                return of_vector[0]
    names = [str(members[0]) for members in known]
    listed = ", ".join(f"[{one}]" for one in names[:20]) + ", …" * (len(names) > 20)
    raise RunError(
        f"class: {name!r} is no target class of the run and no equivalence class of layer {layer}"
        f"{nearest(name, [*table.target_classes, *names])}; equivalence classes: "
        f"{listed or 'none'}; target classes: {', '.join(table.target_classes[:20])}"
        + ", …"
        * (len(table.target_classes) > 20)
    )
