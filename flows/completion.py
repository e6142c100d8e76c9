"""What a shell offers after Tab: presets, lists of models, files, layers and classes of a run.

Nothing is said where there is nothing to offer: a shell shows errors among the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_SUFFIXES = {".yaml", ".yml"}


def runs(incomplete: str) -> list[tuple[str, str]]:
    """Presets and run files."""
    return [*_of_package("presets", incomplete), *_files(incomplete)]


def zoos(incomplete: str) -> list[tuple[str, str]]:
    """Lists of models, of the package and of files."""
    return [*_of_package("zoos", incomplete), *_files(incomplete)]


def clusters(incomplete: str) -> list[tuple[str, str]]:
    """Clusters that need no file, and cluster files."""
    known = {
        "auto": "the GPUs of this machine, or its processor if it has none",
        "local": "processes on this machine",
        "cuda": "one worker for each GPU of this machine",
    }
    begun = [(name, text) for name, text in known.items() if name.startswith(incomplete)]
    return [*begun, *_files(incomplete)]


def figures(incomplete: str) -> list[tuple[str, str]]:
    """Figures of the paper and of the report."""
    from schemas.figure_names import OF_LAYER, OF_PAPER, OF_RUN

    known = (OF_PAPER | OF_LAYER | OF_RUN).items()
    return [(name, text) for name, text in known if name.startswith(incomplete)]


def layers(ctx: Any, incomplete: str) -> list[str]:
    """Layers of the run whose folder stands before."""
    store = _store(ctx)
    from ddp_tasks.queries.stored_names import stored_layers

    return _begun(stored_layers, store, incomplete)


def classes(ctx: Any, incomplete: str) -> list[str]:
    """Target classes of the run whose folder stands before."""
    store = _store(ctx)
    from ddp_tasks.queries.stored_names import stored_classes

    return _begun(stored_classes, store, incomplete)


def _of_package(kind: str, incomplete: str) -> list[tuple[str, str]]:
    from schemas.run_files import presets

    known = sorted(presets(kind).items())
    return [(name, text) for name, text in known if name.startswith(incomplete)]


def _files(incomplete: str) -> Iterator[tuple[str, str]]:
    """Folders, and YAML files."""
    folder, start = Path(incomplete), ""
    if not incomplete.endswith("/"):
        folder, start = folder.parent, folder.name
    with suppress(OSError):
        for path in sorted(folder.expanduser().iterdir()):
            hidden = path.name.startswith(".") and not start.startswith(".")
            if path.name.startswith(start) and not hidden:
                named = incomplete[: len(incomplete) - len(start)] + path.name
                if path.is_dir():
                    yield f"{named}/", "folder"
                elif path.suffix in _SUFFIXES:
                    yield named, "file"


def _store(ctx: Any) -> Path | None:
    """The store in the folder that stands before, if there is one."""
    from flows.commands import without_dask
    from schemas.object_paths import is_address

    without_dask()
    # An option without its value leaves the arguments before it unnamed.
    given = [ctx.params.get("folder"), *(ctx.params.get("folders") or ()), *ctx.args]
    # An address is not asked while a person types.
    folders = [str(one) for one in given if one is not None and not is_address(one)]
    stores = [Path(folder).expanduser() / "store.zarr" for folder in folders]
    return next((path for path in stores if path.is_dir()), None)


def _begun(names: Callable[[Path], list[str]], store: Path | None, incomplete: str) -> list[str]:
    """The names in a store that begin with some letters."""
    # Whatever is wrong with a folder, the command itself says it.
    with suppress(Exception):
        return [name for name in names(store) if name.startswith(incomplete)] if store else []
    return []
