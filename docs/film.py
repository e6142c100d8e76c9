"""Records the short film of the explorer that the README shows.

``python -m docs.film ADDRESS VECTOR FILE.webp`` with the address that ``ddp explore DIR``
prints.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

_WIDTH, _HEIGHT, _SHOWN = 1360, 840, 1000
#: Milliseconds that a picture stands: while something moves, and when it has come to rest.
_MOVING, _RESTING = 120, 1400

_MOVE = (
    "(input, value) => { input.value = value;"
    " input.dispatchEvent(new Event('input', {bubbles: true})) }"
)


def scenes(page: Page, vector: str) -> Iterator[int]:
    """Do one thing after the other; after each, say how long its picture stands."""
    yield _RESTING
    for name, values in (
        ("q", [0.9 - step / 100 for step in range(1, 11)]),
        ("p", [75 - 2 * step for step in range(1, 11)]),
    ):
        for value in values:
            _move(page, name, value)
            yield _MOVING
        yield _RESTING
    page.get_by_role("button", name="The run's own levels").click()
    _rest(page)
    page.get_by_role("radio", name="positive").check()
    _rest(page)
    yield _RESTING // 2
    page.locator("main table").get_by_text(vector, exact=True).first.click()
    _rest(page)
    yield 2 * _RESTING
    page.get_by_role("button", name="Map of images").click()
    _rest(page)
    yield 2 * _RESTING
    page.get_by_role("button", name="Layer", exact=True).click()
    _rest(page)
    yield _RESTING // 2


def _move(page: Page, name: str, value: float) -> None:
    page.locator(f"input[type=range][name={name}]").evaluate(_MOVE, f"{value:g}")
    _rest(page)


def _rest(page: Page) -> None:
    """Wait until what was asked for is drawn, with its pictures."""
    page.wait_for_timeout(250)
    page.locator(".app[aria-busy]").wait_for(state="detached")
    page.wait_for_timeout(250)


def record(address: str, vector: str, file: Path) -> None:
    """Write the film as an animated WebP."""
    pictures, stands = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(address)
        page.wait_for_selector("main h2")
        page.wait_for_timeout(4000)
        for stand in scenes(page, vector):
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            pictures.append(
                shot.resize((_SHOWN, _SHOWN * _HEIGHT // _WIDTH), Image.Resampling.LANCZOS)
            )
            stands.append(stand)
        browser.close()
    pictures[0].save(
        file,
        save_all=True,
        append_images=pictures[1:],
        duration=stands,
        loop=0,
        quality=60,
        method=6,
    )


def main() -> None:
    """Read the command line and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("vector", help="whose details are opened, such as v4")
    parser.add_argument("file", type=Path, metavar="FILE.webp")
    chosen = parser.parse_args()
    record(chosen.address, chosen.vector, chosen.file)


if __name__ == "__main__":
    main()
