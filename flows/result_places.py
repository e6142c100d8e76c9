"""Where the results of a run are, for Prefect's UI: links where somebody serves them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from ddp_tasks.stages.artifacts import as_text
from schemas.object_paths import ObjectPath
from schemas.run_error import RunError
from schemas.shown import shown

#: The address at which the folder is served that holds a run's folder.
VARIABLE = "DDP_RESULTS_URL"

_LONGEST_PATH = 4096


def check_address() -> None:
    """Refuse an address of results that is none.

    Raises
    ------
    RunError
        If the environment names one that is not http or https.
    """
    address = os.environ.get(VARIABLE, "")
    try:
        parts = urlsplit(address)
        well = parts.scheme in {"http", "https"} and parts.hostname is not None
    except ValueError:
        well = False
    if address and not well:
        raise RunError(
            f"{VARIABLE}: {shown(repr(address))} is refused; write the address at which the folder "
            "of all results is served, such as http://127.0.0.1:8900"
        )


def served_at(path: Path) -> str:
    """The address of a file in a run's folder; empty where nobody says that it is served."""
    served = os.environ.get(VARIABLE, "").rstrip("/")
    return f"{served}/{quote(path.parent.name)}/{quote(path.name)}" if served else ""


def places_markdown(places: Mapping[str, Path]) -> str:
    """The places of results as a page of Markdown.

    A browser follows no link from a page of a server to a file. So a place is a link where
    ``DDP_RESULTS_URL`` says at which address the folder above it is served, and else text to copy.

    Parameters
    ----------
    places
        files and folders in a run's folder, by what they are.
    """
    lines = list[str]()
    for what, path in places.items():
        link = served_at(path)
        lines += [f"**[{what}]({link})**" if link else f"**{what}**", ""]
        lines += ["    " + shown(path.as_uri(), _LONGEST_PATH), ""]
    folder = next(iter(places.values())).parent.parent
    if not os.environ.get(VARIABLE) and not isinstance(folder, ObjectPath):
        lines += [
            "A browser opens no file from a page of a server: copy an address into its address "
            "bar, on a machine that has the files. Runs that know where results are served show "
            "links here. To serve them on this machine:",
            "",
            f"    python -m http.server 8900 --bind 127.0.0.1 --directory "
            f"{shown(repr(str(folder)), _LONGEST_PATH)}",
            f"    export {VARIABLE}=http://127.0.0.1:8900",
        ]
    return "\n".join(lines)


def places_artifact(name: str, places: Mapping[str, Path]) -> dict[str, str]:
    """Markdown and description of an artifact that says where results are."""
    return {
        "markdown": f"# Results of {as_text(name)}\n\n{places_markdown(places)}",
        "description": f"{as_text(name)}: where report and store are",
    }
