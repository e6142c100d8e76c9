"""Python files imported as ``python path/to/file.py`` would, independent of other imports.

The modules of a folder import each other by their plain names. In ``sys.modules`` each folder is a
package of its own, so the files ``blocks.py`` of two folders do not collide. When one module has
changed on disk, all are read anew: a worker may outlive the code that it started with.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType
from typing import Any

from ddp_tasks.callables.source_code import OWN_PACKAGES

_PREFIX = "ddp_folder_"
_LOCK = RLock()
_NUMBERS = count()


def file_module(path: Path) -> ModuleType:
    """The module of a file, with the present content of the file and of the modules beside it.

    Parameters
    ----------
    path
        absolute path of a file that exists.

    Raises
    ------
    Exception
        Whatever the file's own code raises.
    """
    with _LOCK:
        folder = _FOLDERS.get(path.parent)
        if folder is None or folder.changed():
            if folder is not None:
                folder.forget()
            folder = _FOLDERS[path.parent] = _Folder(path.parent)
        return folder.module(path)


class _Folder:
    """The modules of one folder, as they were when the first of them was imported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.package = f"{_PREFIX}{next(_NUMBERS)}"
        self.read: dict[str, bytes] = {}
        """digest of the content that was read, by file."""
        self.builtins = {**vars(builtins), "__import__": self._import}
        holder = ModuleType(self.package)
        holder.__path__ = [str(path)]
        sys.modules[self.package] = holder
        importlib.invalidate_caches()

    def module(self, path: Path) -> ModuleType:
        # A dot in the name would mean a package.
        name = f"{self.package}.{path.stem.replace('.', '_')}"
        if name in sys.modules:
            return sys.modules[name]
        spec = spec_from_file_location(name, path, loader=_Loader(self, name, str(path)))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    def changed(self) -> bool:
        """Whether the content of a file is no longer what was read."""
        return any(_digest_now(file) != digest for file, digest in self.read.items())

    def forget(self) -> None:
        for name in [n for n in sys.modules if n.partition(".")[0] == self.package]:
            del sys.modules[name]

    def holds(self, name: str) -> bool:
        """Whether a plain name belongs to a module in this folder."""
        if name in OWN_PACKAGES or name in sys.builtin_module_names:
            return False
        spec = PathFinder.find_spec(name, [str(self.path)])
        if spec is None:
            return False
        # As in Python, a folder without code counts only if no package has that name.
        return spec.origin is not None or PathFinder.find_spec(name) is None

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the names of __import__
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """The ``import`` of the modules in this folder."""
        top = name.partition(".")[0]
        if level or not self.holds(top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        with _LOCK:
            module = builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist or ())
        return module if fromlist else sys.modules[f"{self.package}.{top}"]


class _Loader(SourceFileLoader):
    """Reads a module from its source only, and lets it import the modules beside it."""

    def __init__(self, folder: _Folder, name: str, path: str) -> None:
        super().__init__(name, path)
        self._folder = folder

    def get_code(self, fullname: str) -> CodeType:
        # Python detects stale compiled files by time in seconds and size, which an edit can keep.
        content = self.get_data(self.path)
        self._folder.read[self.path] = hashlib.sha256(content).digest()
        return self.source_to_code(content, self.path)

    def exec_module(self, module: ModuleType) -> None:
        # Functions keep these builtins, so imports inside functions find the folder too.
        vars(module)["__builtins__"] = self._folder.builtins
        super().exec_module(module)


class _Finder:
    """Finds the modules of folders, and of the packages in them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        package = name.partition(".")[0]
        if not package.startswith(_PREFIX) or path is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        folder = next((known for known in _FOLDERS.values() if known.package == package), None)
        if spec is None or folder is None or not isinstance(spec.loader, SourceFileLoader):
            return spec
        loader = _Loader(folder, name, spec.loader.path)
        return spec_from_file_location(
            name,
            spec.loader.path,
            loader=loader,
            submodule_search_locations=spec.submodule_search_locations,
        )


_FOLDERS: dict[Path, _Folder] = {}
sys.meta_path.insert(0, _Finder)


def _digest_now(file: str) -> bytes | None:
    try:
        return hashlib.sha256(Path(file).read_bytes()).digest()
    except OSError:
        return None
