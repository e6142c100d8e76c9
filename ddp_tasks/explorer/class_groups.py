"""Groups of classes as a person types them: a line for each, ``vehicles: car, ship, tr*``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from schemas.run_error import RunError
from schemas.run_files import nearest

#: Names of classes by name of their group.
Groups = Mapping[str, Sequence[str]]


def read_groups(text: str, classes: Sequence[str]) -> dict[str, list[str]]:
    """Groups of classes from lines such as ``vehicles: automobile, truck``.

    A name that holds a comma stands in double quotes; globs are allowed. Classes in no group are
    left out of what is shown.

    Parameters
    ----------
    classes
        of the run.

    Raises
    ------
    RunError
        If a line cannot be read, names no class, or a class stands in two groups.
    """
    groups: dict[str, list[str]] = {}
    group_of: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        name, colon, listed = line.partition(":")
        name = name.strip()
        if not colon or not name:
            raise RunError(
                f"groups: {line.strip()!r} is refused; write a line as NAME: CLASS, CLASS"
            )
        if name in groups:
            raise RunError(f"groups: {name!r} is given twice")
        members: list[str] = []
        for pattern in filter(None, next(csv.reader([listed], skipinitialspace=True), [])):
            wanted = pattern.strip()
            matched = (
                [wanted] if wanted in classes else [c for c in classes if fnmatchcase(c, wanted)]
            )
            if not matched:
                raise RunError(
                    f"groups: there is no class {wanted!r}{nearest(wanted, list(classes))}"
                )
            for target_class in matched:
                if group_of.setdefault(target_class, name) != name:
                    raise RunError(
                        f"groups: class {target_class!r} is in {group_of[target_class]!r} and in "
                        f"{name!r}"
                    )
            members += [c for c in matched if c not in members]
        if not members:
            raise RunError(f"groups: {name!r} names no class")
        groups[name] = members
    return groups
