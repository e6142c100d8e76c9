"""Takes the pictures of Prefect's UI that the page on schedules shows.

``python -m docs.prefect_pictures http://127.0.0.1:4200`` with the address of a server that has the
deployments of ``deployment/prefect.yaml``.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

_DOCS = Path(__file__).resolve().parent
_WIDTH, _SHOWN = 1300, 1000
_SECONDS_TO_DRAW = 4.0


def _write(page: Page, place: str, name: str, height: int) -> None:
    """Open a place of the UI, and write its picture."""
    page.set_viewport_size({"width": _WIDTH, "height": height})
    page.goto(place)
    page.wait_for_timeout(1000 * _SECONDS_TO_DRAW)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    size = (_SHOWN, _SHOWN * height // _WIDTH)
    shot.resize(size, Image.Resampling.LANCZOS).save(_DOCS / name, quality=70, method=6)


def take(address: str) -> None:
    """Write the pictures of the deployments and of a form."""
    ask = httpx.Client(base_url=f"{address}/api", trust_env=False)
    deployment = ask.get("/deployments/name/ddp-nightly/nightly").raise_for_status().json()["id"]
    form = f"{address}/deployments/deployment/{deployment}/run"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        _write(page, f"{address}/deployments", "prefect-deployments.webp", 700)
        _write(page, form, "prefect-form.webp", 1590)
        browser.close()


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="of Prefect's UI")
    take(parser.parse_args().address.rstrip("/"))


if __name__ == "__main__":
    main()
