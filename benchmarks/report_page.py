"""What the report of a finished run costs: its size, to draw it, to open it, to open a layer.

    python -m benchmarks.report_page DIR [--set images.kwargs.root=FOLDER ...]
    python -m benchmarks.report_page [--layers 56 --classes 1000]

DIR is the folder of a finished run; --set says where its images lie now, as for ``ddp steps``.
Without it a made-up run of many layers and classes is carried out first (``many_layers``). All
sections are drawn anew in this process and laid out as a page, which headless Chromium then opens
from a file, with no network. Needs Chromium; appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks import many_layers
from ddp_tasks.queries.addresses import layer_address
from ddp_tasks.queries.finished_run import FinishedRun, open_finished
from ddp_tasks.report import fragments, run_page
from ddp_tasks.report.fragments import FragmentFiles
from ddp_tasks.workers.sections import draw_section
from ddp_tasks.workers.stored_run import StoredRun

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"

#: Milliseconds from the address of a layer until the figures in view, and all figures of its open
#: blocks, are on the page.
_OPEN_LAYER = """
async (address) => {
  const start = performance.now();
  const filled = (place) => [...place.querySelectorAll("*")].some(
    (one) => one.tagName === "CANVAS" ? one.clientWidth : one.shadowRoot && filled(one.shadowRoot));
  const seen = new Promise((done) => {
    const look = setInterval(() => {
      const inView = [...document.querySelectorAll(".layer:not([hidden]) .plot")].filter(
        (place) => place.checkVisibility() && place.getBoundingClientRect().top < innerHeight);
      if (!inView.length || !inView.every(filled)) return;
      clearInterval(look);
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
    }, 5);
  });
  location.hash = address;
  const first = await seen;
  await queue;
  while (!Bokeh.documents.every((one) => one.is_idle)) await new Promise((l) => setTimeout(l, 5));
  return [first, performance.now() - start];
}
"""


@dataclass(frozen=True)
class Measured:
    """What one report costs."""

    layers: int
    sections: list[float]
    """processor seconds of each section."""
    first_section: float
    """the first, with what a process opens once."""
    page_bytes: int
    page_seconds: float
    """processor seconds to lay out the page."""
    first_paint: list[float]
    """milliseconds until something is seen, for each time that the page is opened."""
    loaded: list[float]
    """milliseconds until the page answers."""
    seen: list[float]
    """milliseconds until the figures in view of each layer that was opened are drawn."""
    opened: list[float]
    """milliseconds until all figures of its open blocks are."""


def measure(run: FinishedRun, openings: int) -> Measured:
    """Draw a report, and open it several times.

    Parameters
    ----------
    openings
        times that the page is opened; each opens another layer, spread over all.
    """
    findings = run_page.read_findings(run.run, run.store)
    anchors = fragments.anchors(findings.summary)
    stored = StoredRun.of(run.store, run.run)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        files = {layer: FragmentFiles(Path(folder), anchor) for layer, anchor in anchors.items()}
        for layer in findings.summary.layers:
            start = time.process_time()
            draw_section(stored, (layer, files[layer.layer]))
            seconds.append(time.process_time() - start)
        page, start = Path(folder, "report.html"), time.process_time()
        with page.open("wb") as file:
            file.writelines(piece.encode() for piece in run_page.pieces(findings, files))
        laid_out = time.process_time() - start
        every = list(anchors)
        tried = [every[i * (len(every) - 1) // max(openings - 1, 1)] for i in range(openings)]
        paint, loaded, seen, opened = _in_browser(page, tried)
        size = page.stat().st_size
    return Measured(
        layers=len(anchors),
        sections=seconds[1:] or seconds,
        first_section=seconds[0],
        page_bytes=size,
        page_seconds=laid_out,
        first_paint=paint,
        loaded=loaded,
        seen=seen,
        opened=opened,
    )


def _in_browser(page: Path, layers: list[str]) -> list[list[float]]:
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for layer in layers:
            context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
            tab = context.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_function(
                "() => performance.getEntriesByName('first-contentful-paint').length"
            )
            first, done = tab.evaluate(
                "[performance.getEntriesByName('first-contentful-paint')[0].startTime,"
                " performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd]"
            )
            found.append([first, done, *tab.evaluate(_OPEN_LAYER, layer_address(layer))])
            context.close()
        browser.close()
    return [list(column) for column in zip(*found, strict=True)]


def section(name: str, found: Measured) -> list[str]:
    """The lines of RESULTS.md."""

    def spread(values: list[float]) -> str:
        return f"{statistics.median(values):.0f} | {max(values):.0f}"

    each = [1000 * seconds for seconds in found.sections]
    return [
        f"\n## Report of {name}, {found.layers} layers, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.report_page`; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}; Chromium with no network, 1440 × 900, "
        f"{len(found.seen)} times.",
        "",
        f"{found.page_bytes / 1e6:.2f} MB.",
        "",
        "| | median | most |",
        "| --- | ---: | ---: |",
        f"| first screen, ms | {spread(found.first_paint)} |",
        f"| page ready, ms | {spread(found.loaded)} |",
        f"| a layer opened: figures in view, ms | {spread(found.seen)} |",
        f"| a layer opened: all figures of its open blocks, ms | {spread(found.opened)} |",
        f"| a section drawn, processor ms | {spread(each)} |",
        "",
        f"The first section of a process, with model and images opened: {found.first_section:.1f} "
        f"processor seconds; the page laid out: {found.page_seconds:.2f}.",
    ]


def made_up(folder: Path, layers: int, classes: int) -> Path:
    """Carry out a made-up run, and give back its folder."""
    file, out = folder / "run.yaml", folder / "run"
    file.write_text(many_layers.run_file(layers, classes))
    code = "import sys; sys.argv[0] = 'ddp'; from flows.cli import main; main()"
    subprocess.run(
        [sys.executable, "-c", code, "run", str(file), "--out", str(out)], check=True, cwd=ROOT
    )
    return out


def main() -> None:
    """Read the command line, measure, and append the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", nargs="?")
    parser.add_argument("--layers", type=int, default=many_layers.LAYERS)
    parser.add_argument("--classes", type=int, default=many_layers.CLASSES)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--openings", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or made_up(Path(temporary), arguments.layers, arguments.classes)
        run = open_finished(folder, arguments.set, trust=True)
        lines = section(run.run.name, measure(run, arguments.openings))
    with RESULTS.open("a") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
