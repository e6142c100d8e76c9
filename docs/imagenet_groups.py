"""Makes the table of groups of ImageNet's classes from WordNet's own files.

``python -m docs.imagenet_groups data.noun`` reads the nouns of WordNet 3.0, whose offsets are the
numbers in ImageNet's folder names (Debian's package ``wordnet-base`` has the file in
/usr/share/wordnet), and writes ddp_tasks/images/imagenet_groups.yaml. A group holds the classes
whose hypernyms lead to its synset.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "ddp_tasks" / "images"
TABLE = IMAGES / "imagenet_groups.yaml"

#: Groups and their synsets: of the synsets with 12 or more of the classes, those that people have
#: a word for and that share no class.
SYNSETS = {
    "dogs": "n02084071",
    "cats": "n02120997",
    "primates": "n02469914",
    "hoofed mammals": "n02370806",
    "birds": "n01503061",
    "reptiles": "n01661091",
    "fish": "n02512053",
    "insects": "n02159955",
    "wheeled vehicles": "n04576211",
    "ships and boats": "n04530566",
    "musical instruments": "n03800933",
    "furniture": "n03405725",
    "clothing": "n03051540",
    "buildings": "n02913152",
    "pots and bottles": "n04531098",
    "tools": "n04451818",
    "electronics": "n03278248",
    "appliances": "n02729837",
    "fruit": "n13134947",
    "vegetables": "n07707451",
}

_HEAD = """\
# Groups of classes of ILSVRC-2012 by WordNet: a group holds the classes whose hypernyms, in WordNet
# 3.0, lead to its synset. No class is in two groups; {left} of the 1,000 are in none.
# WordNet 3.0, Copyright 2006 by Princeton University (https://wordnet.princeton.edu), which grants
# use, copies and changes for any purpose. python -m docs.imagenet_groups makes this file from its
# file data.noun and from imagenet_folders.txt, the 1,000 folders.
"""


class Nouns:
    """The noun synsets of WordNet, by WordNet id such as n02084071.

    Parameters
    ----------
    lines
        of the file ``data.noun``; its format is in WordNet's manual page wndb(5).
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.words: dict[str, str] = {}
        self._above: dict[str, list[str]] = {}
        for line in lines:
            if line.startswith(" "):
                continue  # the licence
            fields = line.partition(" | ")[0].split()
            name, words = f"n{fields[0]}", int(fields[3], 16)
            pointers = fields[5 + 2 * words :]
            self.words[name] = fields[4]
            # A pointer has four fields: symbol, offset, part of speech, words.
            self._above[name] = [
                f"n{offset}"
                for symbol, offset in zip(pointers[::4], pointers[1::4], strict=True)
                if symbol in ("@", "@i")
            ]

    def hypernyms(self, name: str) -> set[str]:
        """A synset and all synsets above it, by every way."""
        found, todo = {name}, [name]
        while todo:
            new = set(self._above[todo.pop()]) - found
            found |= new
            todo += new
        return found


def grouped(
    nouns: Nouns, folders: Sequence[str], synsets: Mapping[str, str] = SYNSETS
) -> dict[str, list[str]]:
    """The folders of each group, in their own order.

    Raises
    ------
    ValueError
        If a folder belongs to two groups.
    """
    groups: dict[str, list[str]] = {group: [] for group in synsets}
    for folder in folders:
        above = nouns.hypernyms(folder)
        own = [group for group, synset in synsets.items() if synset in above]
        if len(own) > 1:
            raise ValueError(f"{folder} ({nouns.words[folder]}) belongs to {' and '.join(own)}")
        for group in own:
            groups[group].append(folder)
    return groups


def table(nouns: Nouns, folders: Sequence[str], synsets: Mapping[str, str] = SYNSETS) -> str:
    """The text of the table, as YAML."""
    groups = grouped(nouns, folders, synsets)
    left = len(folders) - sum(map(len, groups.values()))
    parts = [_HEAD.format(left=left)]
    for group, members in groups.items():
        indent = " " * 4
        listed = textwrap.fill(
            ", ".join(members), 98, initial_indent=indent, subsequent_indent=indent
        )
        synset = synsets[group]
        parts.append(
            f"{group}:\n  synset: {synset}  # {nouns.words[synset]}\n"
            f"  classes: [  # {len(members)}\n{listed}]\n"
        )
    return "".join(parts)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("nouns", type=Path, help="WordNet's file data.noun")
    with parser.parse_args().nouns.open(encoding="latin-1") as lines:
        nouns = Nouns(lines)
    TABLE.write_text(table(nouns, (IMAGES / "imagenet_folders.txt").read_text().split()))


if __name__ == "__main__":
    main()
