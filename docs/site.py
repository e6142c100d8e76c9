"""Builds the documentation site: pages, links and spelling, without a network.

``python -m docs.site`` writes build/site/VERSION, and beside the builds of all versions the list
that the switcher of versions reads. Every warning is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version

from docs import links

ROOT = Path(__file__).resolve().parents[1]


class SiteError(Exception):
    """What is wrong with the site, one line each."""


def version(root: Path = ROOT) -> str:
    """The project's version, which names the build's folder."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def build(out: Path, execute: bool = True) -> Path:
    """Build the pages of this version, and check every link between them.

    Parameters
    ----------
    out
        folder of the builds of all versions.
    execute
        whether notebooks are carried out, where no earlier build into this folder did it; else they
        stand without their results.

    Returns
    -------
    The folder of this version's build; its external-links.txt lists the links that lead outside.

    Raises
    ------
    SiteError
        If Sphinx warns, or a link leads to a file or a place that is not there.
    """
    pages = out / version()
    _sphinx("html", out, pages, execute)
    write_versions(out)
    wrong, outside = links.check(pages)
    (pages / "external-links.txt").write_text("".join(f"{link}\n" for link in outside))
    if wrong:
        raise SiteError("\n".join(wrong))
    return pages


def check_spelling(out: Path, execute: bool = True) -> None:
    """Check every word of the pages against a British dictionary and docs/words.txt.

    Raises
    ------
    SiteError
        If a word is in neither, or no dictionary is installed.
    """
    if not has_dictionary():
        raise SiteError("spelling needs Debian's libenchant-2-2 and hunspell-en-gb, or the like")
    found = out / ".spelling"
    shutil.rmtree(found, ignore_errors=True)
    try:
        _sphinx("spelling", out, found, execute)
    except SiteError as error:  # it only counts the words, its files name them
        files = sorted(found.rglob("*.spelling"))
        raise SiteError("".join(file.read_text() for file in files) or str(error)) from error


def has_dictionary() -> bool:
    """Whether enchant's library and a British dictionary are installed."""
    try:
        import enchant
    except ImportError:  # of the library that it wraps
        return False
    return bool(enchant.dict_exists("en_GB"))


def write_versions(out: Path) -> Path:
    """List the builds that lie in a folder, the newest first, for the switcher of versions."""
    builds = [folder.name for folder in out.iterdir() if (folder / "docs" / "index.html").is_file()]
    builds.sort(key=Version, reverse=True)
    listed = [
        {"version": name, "name": name, "url": f"../{name}/", "preferred": place == 0}
        for place, name in enumerate(builds)
    ]
    file = out / "versions.json"
    file.write_text(json.dumps(listed, indent=1) + "\n")
    return file


def _sphinx(builder: str, out: Path, into: Path, execute: bool) -> None:
    """Carry out one of Sphinx's builders; pages that are as they were are not read again."""
    commands = Path(sys.executable).parent
    mode = [] if execute else ["-D", "nb_execution_mode=off"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "--no-color"),
            *("-b", builder, "-c", ROOT / "docs", "-d", out / ".doctrees"),
            *("-D", f"nb_execution_cache_path={out / '.notebooks'}", *mode),
            *(ROOT, into),
        ],
        # Notebooks call ddp, and import what lies here.
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SiteError(done.stderr.strip())


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, check links, check spelling; tell what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="all versions")
    parser.add_argument("--no-execute", action="store_true", help="show notebooks without results")
    chosen = parser.parse_args(arguments)
    out, execute = chosen.out.resolve(), not chosen.no_execute
    try:
        pages = build(out, execute)
        check_spelling(out, execute)
    except SiteError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(pages / "index.html")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
