"""Image sets that presets name, in the layouts in which they are usually stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from torchvision import datasets
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.models import VGG16_Weights

from ddp_tasks.images.object_folders import folder_names, load_picture, picture_objects
from ddp_tasks.images.wordnet_groups import wordnet_groups
from schemas.object_paths import ObjectPath, path_of
from schemas.parameters import RunError
from schemas.paths import expanded
from schemas.run_files import nearest

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

_ROOT, _GROUPS = "images.kwargs.root", "images.kwargs.groups"


class PictureFolders(datasets.ImageFolder):
    """torchvision's ``ImageFolder``, whose root may also be an address in an object store.

    Raises
    ------
    OSError
        If the store refuses a request.
    """

    def __init__(self, root: str | Path, *, allow_empty: bool = False) -> None:
        at_address = isinstance(path_of(root), ObjectPath)
        #: Bytes of each picture at an address, which listing them tells.
        self.sizes: Mapping[str, int] = {}
        loader = {"loader": load_picture} if at_address else {}
        super().__init__(str(root), allow_empty=allow_empty, **loader)
        if at_address:
            found = picture_objects(ObjectPath(root), self.class_to_idx, IMG_EXTENSIONS)
            self.sizes = {path: size for path, (_, size) in found.items()}

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """The folders below one, sorted, and their labels."""
        if not isinstance(path_of(directory), ObjectPath):
            return super().find_classes(directory)
        names = folder_names(path_of(directory))
        if not names:
            raise FileNotFoundError(f"there is no folder of a class in {directory}")
        return names, {name: label for label, name in enumerate(names)}

    @staticmethod
    def make_dataset(
        directory: str | Path,
        class_to_idx: dict[str, int],
        extensions: tuple[str, ...] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> list[tuple[str, int]]:
        """Paths and labels of all pictures, as in torchvision."""
        root = path_of(directory)
        if not isinstance(root, ObjectPath):
            return datasets.ImageFolder.make_dataset(
                directory, class_to_idx, extensions, is_valid_file, allow_empty
            )
        found = picture_objects(root, class_to_idx, extensions or ())
        return [(path, label) for path, (label, _) in found.items()]


class LabelledFolders(PictureFolders):
    """Picture files with one folder per class, labelled by a given list of folders.

    ``ImageFolder`` numbers the folders that exist, so if a tree lacks some of a network's classes,
    the others get wrong labels. Here a folder has the same label whatever other folders exist.

    Parameters
    ----------
    root
        the folder above the classes' folders.
    folders
        one per class, in the order of the labels.
    names
        of the classes; None takes the names of the folders.

    Raises
    ------
    RunError
        If a folder is not in the list, or no folder holds a picture.
    """

    def __init__(
        self, root: Path, folders: Sequence[str], names: Sequence[str] | None = None
    ) -> None:
        self._folders = list(folders)
        super().__init__(root, allow_empty=True)
        if not self.samples:
            raise RunError(
                f"{_ROOT}: the folders of {str(root)!r} hold no picture", change=(_ROOT,)
            )
        self.classes = list(names or folders)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """The classes' folders in the order of their labels, whether they exist or not."""
        if unknown := sorted(_folders_in(path_of(directory)) - set(self._folders)):
            raise RunError(
                f"images: {str(directory)!r} holds {len(unknown)} folders that are not among the "
                f"{len(self._folders)} classes ({self._folders[0]} to {self._folders[-1]}): "
                f"{', '.join(unknown[:5])}"
            )
        return self._folders, {folder: label for label, folder in enumerate(self._folders)}


class GroupedFolders(LabelledFolders):
    """Picture files labelled by groups of a network's classes; those in no group are left out.

    The first picture of every folder comes first, then the second of every folder, and so on: a
    run that takes the first 50 of each group takes them of as many folders as it can.

    Parameters
    ----------
    root
        the folder above the classes' folders.
    folders
        one per class of the network, in the order of its outputs.
    groups
        folders by name of their group.

    Raises
    ------
    RunError
        If a group is empty or names no folder of the list, if a folder is in two groups, or if no
        folder of a group holds a picture.
    """

    def __init__(
        self, root: Path, folders: Sequence[str], groups: Mapping[str, Sequence[str]]
    ) -> None:
        number = _numbered(groups, folders)
        super().__init__(root, folders)
        #: The group of each output of the network; -1 of none.
        self.class_of_output = np.array([number.get(f, -1) for f in folders], dtype=np.int64)
        group = self.class_of_output.tolist()
        self.samples: list[tuple[str, int]] = [
            (path, group[label])
            for path, label in _first_of_each_first(self.samples)
            if group[label] >= 0
        ]
        if not self.samples:
            raise RunError(
                f"{_ROOT}: {str(root)!r} holds no picture of a class in a group",
                change=(_ROOT, _GROUPS),
            )
        self.imgs, self.targets = self.samples, [label for _, label in self.samples]
        self.classes = list(groups)
        self.class_to_idx = {name: label for label, name in enumerate(groups)}


def _first_of_each_first(samples: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Pictures by their place in their folder, those of one place in the order of the folders."""
    before: Counter[int] = Counter()
    place = []
    for _, label in samples:
        place.append(before[label])
        before[label] += 1
    return [samples[i] for i in sorted(range(len(samples)), key=place.__getitem__)]


def _numbered(groups: Mapping[str, Sequence[str]], folders: Sequence[str]) -> dict[str, int]:
    """The number of each folder's group."""
    number: dict[str, int] = {}
    for label, (name, members) in enumerate(groups.items()):
        if not isinstance(members, list | tuple) or not members:
            raise RunError(f"{_GROUPS}.{name}: {members!r} is refused; list at least one folder")
        for folder in members:
            if folder not in folders:
                raise RunError(
                    f"{_GROUPS}.{name}: there is no class {folder!r}"
                    f"{nearest(str(folder), folders)} among the {len(folders)} ({folders[0]} to "
                    f"{folders[-1]})"
                )
            if number.setdefault(folder, label) != label:
                other = list(groups)[number[folder]]
                raise RunError(
                    f"{_GROUPS}: {folder!r} is in {other!r} and {name!r}; a class belongs to one "
                    "group at most"
                )
    return number


def picture_folder(root: str) -> PictureFolders:
    """Picture files with one folder for each class, at a path or an address such as s3://BUCKET.

    Labels are those of torchvision's ``ImageFolder``.

    Raises
    ------
    RunError
        If the root holds no folder of a class with pictures, or an address does not answer.
    """
    try:
        return PictureFolders(_answering(root))
    except OSError as error:
        why = error.strerror or str(error)
        raise RunError(f"{_ROOT}: {root!r}: {why}", change=(_ROOT,)) from None


def _answering(root: str) -> Path:
    """A root that is a path, or an address that answers."""
    # ``~`` is left to torchvision, which opens what is on a disk.
    found = expanded(root, _ROOT) if "://" in str(root) else Path(root)
    if isinstance(found, ObjectPath):
        try:
            found.answers()
        except OSError as error:
            raise RunError(f"{_ROOT}: {root!r}: {error.strerror}", change=(_ROOT,)) from None
    return found


def cifar10(
    root: str, train: bool = False, download: bool = False
) -> LabelledFolders | datasets.CIFAR10:
    """CIFAR-10 as a tree of picture files or in torchvision's own layout.

    Parameters
    ----------
    root
        a folder with ``test/CLASS/*`` (and ``train/CLASS/*``), with ``CLASS/*`` alone, or with
        torchvision's ``cifar-10-batches-py``.
    train
        the training images instead of the test images; a tree of ``CLASS/*`` alone has only one
        part, which stands for either.
    download
        fetch torchvision's layout into ``root`` first.

    Raises
    ------
    RunError
        If the folder holds none of these.
    """
    folder = _answering(root)
    if download or (folder / datasets.CIFAR10.base_folder).is_dir():
        return datasets.CIFAR10(root, train=train, download=download)
    tree = _tree(folder, "train" if train else "test", CIFAR10_CLASSES)
    if tree is None:
        raise RunError(
            f"{_ROOT}: {root!r} holds no CIFAR-10, neither picture files (test/airplane to "
            f"test/truck) nor torchvision's {datasets.CIFAR10.base_folder}; "
            "images.kwargs.download = true downloads it there",
            change=(_ROOT, "images.kwargs.download"),
        )
    return LabelledFolders(tree, CIFAR10_CLASSES)


def imagenet(
    root: str,
    split: Literal["val", "train"] = "val",
    groups: str | Mapping[str, Sequence[str]] | None = None,
) -> LabelledFolders:
    """Images of ILSVRC-2012 in folders named by WordNet id, for any of the 1,000 classes.

    Labels are those of torchvision's networks, whichever folders exist; or with ``groups``, the
    groups of classes, and a class that the network chooses counts for its group.

    Parameters
    ----------
    root
        a folder with ``val/WNID/*`` or with ``WNID/*`` alone.
    groups
        ``wordnet`` for twenty groups such as dogs, birds and musical instruments, which hold 568
        of the classes (imagenet_groups.yaml), or WordNet ids by name of their group.

    Raises
    ------
    RunError
        If the folder holds no such tree, or a folder of another name beside them, or the groups
        are refused.
    """
    folders = (resources.files("ddp_tasks.images") / "imagenet_folders.txt").read_text().split()
    tree = _tree(_answering(root), split, folders)
    if tree is None:
        raise RunError(
            f"{_ROOT}: {root!r} holds no images of ImageNet in folders named by WordNet id, "
            f"such as {split}/{folders[0]} or {folders[0]}",
            change=(_ROOT,),
        )
    if groups is not None:
        return GroupedFolders(tree, folders, _by_group(groups))
    return LabelledFolders(tree, folders, VGG16_Weights.IMAGENET1K_V1.meta["categories"])


def _by_group(groups: str | Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    """WordNet ids by name of their group."""
    if isinstance(groups, Mapping):
        return groups
    if groups != "wordnet":
        raise RunError(
            f"{_GROUPS}: {groups!r} is refused; wordnet, or WordNet ids by name of their group, "
            "are allowed",
            change=(_GROUPS,),
        )
    return wordnet_groups()


def _tree(root: Path, part: str, folders: Sequence[str]) -> Path | None:
    """The folder's part, or else the folder itself, if it holds folders of classes."""
    for tree in (root / part, root):
        if tree.is_dir() and _folders_in(tree) & set(folders):
            return tree
    return None


def _folders_in(tree: Path) -> set[str]:
    return {name for name in folder_names(tree) if not name.startswith(".")}
