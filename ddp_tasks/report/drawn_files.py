"""Figures as files: SVG, whose lines stay lines, and PNG.

Figures of boxes, circles and texts are written as they are. All others are drawn by BokehJS in a
headless Chromium that has no network, which also makes every PNG.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import holoviews as hv
from bokeh.embed import components
from bokeh.resources import Resources

from ddp_tasks.figures.svg import NotDrawnError, svg
from ddp_tasks.files.whole import write_whole
from schemas.run_error import RunError

#: Endings of the files that a figure may go to.
ENDINGS = (".svg", ".png")

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = (
    *("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars", "no-first-run"),
    *("disable-background-networking", "host-resolver-rules=MAP * ~NOTFOUND"),
)
#: Milliseconds of the page's own clock in which BokehJS draws, and seconds by the clock.
_BUDGET, _SECONDS = 60_000, 120
#: Pixels of a PNG for each of the figure's.
_SCALE = 2

_DRAWING = """<!DOCTYPE html><html><head><meta charset="utf-8"><script>{js}</script></head><body>
{figure}{script}<script>
const {{PlotView}} = Bokeh.require("models/plots/plot")
function* plots(views) {{
  for (const view of views) {{
    if (view instanceof PlotView) yield view
    else yield* plots(view.child_views?.values() ?? [])
  }}
}}
const draw = () => {{
  const idle = Bokeh.documents.length && Bokeh.documents.every((one) => one.is_idle)
  const [view] = idle ? plots(Bokeh.index) : []
  if (!view) return setTimeout(draw, 50)
  const kept = document.createElement("pre")
  kept.id = "drawn"
  kept.textContent = view.export("svg").ctx.get_serialized_svg(true)
  document.body.replaceChildren(kept)
}}
draw()
</script></body></html>"""

_SHOWING = (
    '<!DOCTYPE html><meta charset="utf-8"><style>body{{margin:0}}svg{{display:block}}</style>{}'
)


def write_figure(figure: hv.Overlay, label: str, file: Path) -> None:
    """Write a figure to a file, as its ending says.

    Parameters
    ----------
    label
        what the figure shows, for those who do not see it.

    Raises
    ------
    RunError
        If Chromium is needed and is not there, or does not draw the figure.
    """
    text = _as_svg(figure, label)
    if file.suffix == ".svg":
        write_whole(file, text)
    else:
        write_whole(file, _as_png(text))


def _as_svg(figure: hv.Overlay, label: str) -> str:
    try:
        return svg(figure, label)
    except NotDrawnError:
        return _drawn_by_bokeh(figure)


def _drawn_by_bokeh(figure: hv.Overlay) -> str:
    plot = hv.renderer("bokeh").get_plot(figure).state
    plot.toolbar_location = None
    script, element = components(plot)
    js = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    with tempfile.TemporaryDirectory(prefix="ddp-") as folder:
        page = Path(folder, "figure.html")
        page.write_text(_DRAWING.format(js=js, figure=element, script=script), "utf-8")
        whole = _chromium(folder, f"virtual-time-budget={_BUDGET}", "dump-dom", page=page)
    if (drawn := re.search(r'<pre id="drawn">(.*)</pre>', whole, re.DOTALL)) is None:
        raise RunError("Chromium did not draw the figure in time")
    return html.unescape(drawn[1])


def _as_png(drawn: str) -> bytes:
    size = re.search(r'<svg[^>]* width="([\d.]+)"[^>]* height="([\d.]+)"', drawn)
    assert size is not None
    width, height = (int(float(side) + 0.999) for side in size.groups())
    with tempfile.TemporaryDirectory(prefix="ddp-") as folder:
        page, picture = Path(folder, "figure.html"), Path(folder, "figure.png")
        page.write_text(_SHOWING.format(drawn), "utf-8")
        _chromium(
            folder,
            f"window-size={width},{height}",
            f"force-device-scale-factor={_SCALE}",
            f"screenshot={picture}",
            page=page,
        )
        if not picture.is_file():
            raise RunError("Chromium did not draw the figure in time")
        return picture.read_bytes()


def _chromium(folder: str, *options: str, page: Path) -> str:
    """What Chromium writes to its standard output of a page, called without a network."""
    program = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if program is None:
        raise RunError(
            "this figure is drawn by Chromium, which is not on the path: install chromium, or take "
            "the figure from the report"
        )
    given = (*_OPTIONS, f"user-data-dir={folder}/profile", *options)
    try:
        done = subprocess.run(
            [program, *(f"{'-' * 2}{option}" for option in given), page.as_uri()],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"Chromium did not draw the figure in {_SECONDS} s") from None
    return done.stdout
