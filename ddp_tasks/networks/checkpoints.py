"""Loading into a network the tensors of a checkpoint that fit it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ddp_tasks.networks.checkpoint_files import joining_advice, named_tensors, printable
from schemas.parameters import RunError

#: Most names of each kind that a message lists, and most names that are compared for near ones.
_SHOWN, _COMPARED = 4, 2_000

#: Stands for a value that a mapping does not hold.
_NOTHING = object()


class MisfitError(RunError):
    """No tensors of a checkpoint are those of the network.

    Parameters
    ----------
    variant
        of the network, that the checkpoint fits; empty if none is known.
    """

    def __init__(self, message: str, variant: str = "") -> None:
        fits = f"\n  it fits {variant}" if variant else ""
        super().__init__(f"{message}{fits}")
        #: The same in a few words.
        self.short = "; ".join([message.partition("; nearest is")[0], *fits.strip().splitlines()])


@dataclass(frozen=True)
class Weights:
    """Which part of a checkpoint became a network's weights."""

    entry: str
    """dotted path of the mapping of tensors in the file; empty if the file itself is one."""
    prefix: str = ""
    """removed from every name, such as ``module.``."""
    left_alone: int = 0
    """tensors of that mapping that do not belong to the network."""

    def __str__(self) -> str:
        place = f"entry {printable(self.entry)!r}" if self.entry else "the file's own names"
        prefix = f", {printable(self.prefix)!r} taken off each name" if self.prefix else ""
        others = f", {self.left_alone} other tensors left alone" if self.left_alone else ""
        return f"{place}{prefix}{others}"

    @property
    def path(self) -> str:
        """This place as ``model.entry`` names it: entry and prefix, dotted."""
        return ".".join(filter(None, (self.entry, self.prefix.removesuffix("."))))


def load_checkpoint(
    model: nn.Module,
    path: Path,
    entry: str | None = None,
    name: str = "the network",
    *,
    mapped: bool = False,
) -> Weights:
    """Load the tensors of a checkpoint into a network, wherever in the file they lie.

    The mapping of tensors is used whose names, without one common prefix, and shapes are those of
    the network; only one may fit. BatchNorm's counts of batches may be missing: a trained network
    never reads them.

    Parameters
    ----------
    entry
        dotted path of the tensors, needed if several mappings fit.
    name
        of the network, for messages.
    mapped
        whether the file's tensors take the place of the network's and are not read.

    Raises
    ------
    RunError
        If the file cannot be read without running code, nothing in it fits, or several mappings
        do.
    """
    mappings = named_tensors(path, mapped=mapped)
    expected = model.state_dict()
    fitting = [
        candidate
        for place, tensors in mappings.items()
        for candidate in fitting_places(expected, place, tensors)
    ]
    chosen = fitting if entry is None else _chosen(fitting, entry)
    if entry is not None and not chosen:
        mappings = _near(path, mappings, entry)
    different = _different(chosen, mappings, expected)
    if len(different) > 1:
        raise RunError(_several(path, different), change=("model.entry",))
    for weights in different[:1]:
        tensors = mappings[weights.entry]
        if not _unexpected(_under(tensors, weights.prefix), expected, weights, fitting):
            try:
                state = _filled(_under(tensors, weights.prefix), expected)
                model.load_state_dict(state, assign=mapped)
            except RuntimeError as error:  # a network's own rules may refuse names that fit
                reason = str(error).strip().splitlines()[-1].strip()
                raise RunError(f"model.weights {str(path)!r} do not fit {name}: {reason}") from None
            return weights
    for place, tensors in mappings.items():
        if not different and (own := _by_its_own_rules(model, place, tensors, mapped)) is not None:
            return own
    raise MisfitError(_misfit(path, mappings, expected, name))


def fitting_places(
    expected: Mapping[str, Any], entry: str, tensors: Mapping[str, Any]
) -> list[Weights]:
    """The prefixes under which a mapping holds every tensor of a network, in the right shape."""
    needed = [name for name in expected if not is_count(name)]
    longest = max(needed, key=len, default="")
    fitting = []
    for prefix in (end.removesuffix(longest) for end in tensors if end.endswith(longest)):
        if prefix and not prefix.endswith("."):
            continue
        if all(_fits(expected[name], tensors.get(prefix + name, _NOTHING)) for name in needed):
            others = sum(
                isinstance(value, Tensor) and name.removeprefix(prefix) not in expected
                for name, value in tensors.items()
            )
            fitting.append(Weights(entry, prefix, others))
    return fitting if needed else []


def _fits(expected: Any, value: Any) -> bool:
    if not isinstance(expected, Tensor):
        return value is not _NOTHING
    if not isinstance(value, Tensor) or value.is_meta:
        return False
    # Only the real parts of complex numbers would be loaded.
    alike = value.is_complex() == expected.is_complex()
    return alike and (is_lazy(expected) or expected.shape == value.shape)


def is_count(name: str) -> bool:
    """Whether a tensor is a BatchNorm's count of batches, which may be missing."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _under(tensors: Mapping[str, Any], prefix: str) -> OrderedDict[str, Any]:
    """The part of a mapping with a prefix, which is removed from names and torch's versions."""
    part = OrderedDict(
        (name.removeprefix(prefix), value)
        for name, value in tensors.items()
        if name.startswith(prefix)
    )
    if (versions := getattr(tensors, "_metadata", None)) is not None:
        part._metadata = OrderedDict(  # type: ignore[attr-defined]
            (name.removeprefix(prefix), version)
            for name, version in versions.items()
            if f"{name}.".startswith(prefix)
        )
    return part


def _filled(tensors: Mapping[str, Any], expected: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """The network's part of a mapping; missing counts are taken from the network itself."""
    state = OrderedDict((name, tensors.get(name, value)) for name, value in expected.items())
    # The names are today's, so a mapping without versions is taken to have today's versions.
    state._metadata = getattr(tensors, "_metadata", getattr(expected, "_metadata", None))  # type: ignore[attr-defined]
    return state


def _chosen(fitting: Sequence[Weights], entry: str) -> list[Weights]:
    exactly = [weights for weights in fitting if weights.path == entry]
    return exactly or [
        weights
        for weights in fitting
        if weights.entry == entry or weights.path.startswith(f"{entry}.")
    ]


def _near(
    path: Path, mappings: Mapping[str, OrderedDict[str, Any]], entry: str
) -> dict[str, OrderedDict[str, Any]]:
    """The mappings that an entry may mean, though none of them fits.

    Raises
    ------
    RunError
        If there are none, listing the mappings of the file.
    """
    near = {
        place: tensors
        for place, tensors in mappings.items()
        if f"{place}.".startswith(f"{entry}.") or entry.startswith(f"{place}.")
    }
    if near or "" in mappings:
        return near or {"": mappings[""]}
    places = [printable(place) for place in mappings]
    raise RunError(
        f"model.entry: {str(path)!r} holds no tensors at {entry!r}; "
        f"it has some at {_listed(places)}"
    )


def _different(
    fitting: Sequence[Weights],
    mappings: Mapping[str, Mapping[str, Any]],
    expected: Mapping[str, Any],
) -> list[Weights]:
    """The places that hold different tensors; the first of places that hold the same."""
    kept: list[tuple[Weights, Mapping[str, Any]]] = []
    for weights in fitting:
        tensors = _under(mappings[weights.entry], weights.prefix)
        if not any(
            all(_equal(tensors.get(n), other.get(n)) for n in expected) for _, other in kept
        ):
            kept.append((weights, tensors))
    return [weights for weights, _ in kept]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is b or (a.dtype == b.dtype and torch.equal(a, b))
    return a is b


def _unexpected(
    tensors: Mapping[str, Any],
    expected: Mapping[str, Any],
    weights: Weights,
    fitting: Sequence[Weights],
) -> list[str]:
    """Tensors under a prefix that belong neither to the network nor to other fitting weights."""
    others = tuple(
        other.prefix.removeprefix(weights.prefix)
        for other in fitting
        if other.entry == weights.entry
        and other.prefix != weights.prefix
        and other.prefix.startswith(weights.prefix)
    )
    return [
        name
        for name, value in tensors.items()
        if isinstance(value, Tensor) and name not in expected and not name.startswith(others)
    ]


def _by_its_own_rules(
    model: nn.Module, entry: str, tensors: Mapping[str, Any], mapped: bool
) -> Weights | None:
    """Load a mapping whose names the network itself translates, such as its old names."""
    own = [value for value in model.state_dict().values() if isinstance(value, Tensor)]
    given = [value for value in tensors.values() if isinstance(value, Tensor)]
    if any(map(torch.is_complex, given)) and not any(map(torch.is_complex, own)):
        return None
    prefix: str | None = ""
    while prefix is not None:
        state = _under(tensors, prefix)
        for other in [name for name, value in state.items() if not isinstance(value, Tensor)]:
            del state[other]
        try:
            model.load_state_dict(state, assign=mapped)
        except Exception:  # noqa: BLE001 - a network's rules may fail in any way
            prefix = _longer(prefix, list(state))
        else:
            return Weights(entry, prefix)
    return None


def _longer(prefix: str, names: Sequence[str]) -> str | None:
    """The prefix extended by the first part that all names share; None if they share none."""
    first, dot, _ = names[0].partition(".") if names else ("", "", "")
    common = dot and all(name.startswith(f"{first}.") for name in names)
    return f"{prefix}{first}." if common else None


def _several(path: Path, fitting: Sequence[Weights]) -> str:
    paths = [weights.path for weights in fitting]
    marked = [f"{printable(p)!r}{' (EMA)' if 'ema' in p.lower() else ''}" for p in paths]
    return (
        f"model.weights: {str(path)!r} holds several sets of weights that fit: "
        f"{_listed(marked)}; model.entry says which is meant"
    )


def _misfit(
    path: Path, mappings: Mapping[str, Mapping[str, Any]], expected: Mapping[str, Any], name: str
) -> str:
    """Why the mapping most similar to a network does not fit it, in two lines."""
    entry, prefix, tensors = _nearest(mappings, expected)
    missing = [n for n in expected if n not in tensors and not is_count(n)]
    unexpected = [n for n in tensors if n not in expected]
    shapes = [
        f"{printable(n)} is {_shape(tensors[n])} and not {_shape(expected[n], of_file=False)}"
        for n in expected
        if n in tensors and not _fits(expected[n], tensors[n])
    ]
    pairs = [
        f"{printable(near[0])} for {printable(n)}"
        for n in missing[:_SHOWN]
        if (near := get_close_matches(n, unexpected[:_COMPARED], n=1))
    ]
    lines = {
        f"missing, {len(missing)} of {len(expected)}": [printable(n) for n in missing],
        f"unexpected, {len(unexpected)} of {len(tensors)}": [printable(n) for n in unexpected],
        "perhaps": pairs,
        f"of other shapes, {len(shapes)}": shapes,
        "other tensors in the file at": [printable(p) or "its top" for p in mappings if p != entry],
    }
    told = "; ".join(f"{what}: {_listed(names)}" for what, names in lines.items() if names)
    return "\n".join(
        [
            f"model.weights {str(path)!r} do not fit {name}; nearest is {Weights(entry, prefix)}:",
            f"  {told}",
            *filter(None, [joining_advice(path)]),
        ]
    )


def _nearest(
    mappings: Mapping[str, Mapping[str, Any]], expected: Mapping[str, Any]
) -> tuple[str, str, Mapping[str, Any]]:
    """The mapping and prefix with the most names of a network; the outermost if several."""
    candidates = []
    for entry, mapping in mappings.items():
        tensors = {name: value for name, value in mapping.items() if isinstance(value, Tensor)}
        starts = Counter(
            name[:at]
            for name in tensors
            for at in (0, *(i + 1 for i, letter in enumerate(name) if letter == "."))
            if name[at:] in expected
        )
        prefix, times = max(starts.items(), key=lambda one: one[1], default=("", 0))
        candidates.append((times, entry, prefix, _under(tensors, prefix)))
    _, entry, prefix, state = max(candidates, key=lambda one: one[0])
    return entry, prefix, state


def _shape(tensor: Any, of_file: bool = True) -> str:
    if not isinstance(tensor, Tensor):
        return type(tensor).__name__
    # A network may be built without data to be held against a file.
    empty = of_file and tensor.is_meta
    kind = "complex " if tensor.is_complex() else "without data " if empty else ""
    return f"{kind}{tuple(tensor.shape)}"


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
