"""The page of the explorer: what a view looks like, and what a person does to change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import jinja2
import pandas as pd
import panel as pn
import param
from markupsafe import Markup
from panel.custom import JSComponent

from ddp_tasks.explorer.class_details import class_details
from ddp_tasks.explorer.image_details import ImageDetails, image_details
from ddp_tasks.explorer.layer_view import layer_column
from ddp_tasks.explorer.map_view import draw_classes, draw_images, layouts_of
from ddp_tasks.explorer.node_details import node_details
from ddp_tasks.explorer.pair_view import compared_in_all, compared_in_layer, names_of, pair_of
from ddp_tasks.explorer.pointing import Overlays, activations_of, overlays_of, place_of
from ddp_tasks.explorer.slices import Slice, Slices, StillCountingError
from ddp_tasks.explorer.start import Start, start
from ddp_tasks.explorer.view_state import VIEWS, View, address_of, member_at
from ddp_tasks.figures.notation import short
from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.queries.findings import read_findings
from ddp_tasks.significance.signal_maps import (
    LEAST_IMAGES,
    SignalMap,
    has_umap,
    principal_plane,
    umap_plane,
)
from schemas.names import file_name
from schemas.run_error import RunError

_HERE = Path(__file__).parent

#: Classes times singular vectors of a layer up to which a run's findings are read here: those of
#: 1,000 classes and 4,096 vectors take 1.4 GiB.
_FINDINGS = 1 << 20

#: The document around the page: nothing in it comes from a network.
_DOCUMENT = """
{% extends base %}
{% block title %}Explorer{% endblock %}
{% block postamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<style>html, body { margin: 0; height: auto; }</style>
{% endblock %}
{% block contents %}{{ embed(roots.page) }}{% endblock %}
"""


class Page(JSComponent):
    """What stands on the page, as HTML; a browser sends back what a person does."""

    navigation = param.String()
    controls = param.String()
    values = param.Dict({})
    view = param.String()
    details = param.String()
    notice = param.String()
    """why what was asked for is refused."""
    waits = param.String()
    """what is being made before it can be shown."""
    address = param.Dict({})
    """the query of the address, and whether it is a new place to go back from."""

    _esm = _HERE / "page.js"
    _stylesheets: ClassVar[list[str]] = [(_HERE / "page.css").read_text()]

    def __init__(self, slices: Slices, query: str, **params: Any) -> None:
        super().__init__(**params)
        self._slices, self._asked = slices, View()
        self.navigation = rendered("navigation.html.jinja", views=VIEWS)
        self.controls = rendered(
            "controls.html.jinja", runs=slices.runs, classes=slices.runs[0].target_classes
        )
        self._look(View.of_query(query))

    def _handle_msg(self, data: Any) -> None:
        """Show what was asked for, and say that the next question may come."""
        asked = dict(data.get("set", {}))
        # The page asks again while something is made; nothing is drawn anew before it is there.
        if asked or self.waits or self._slices.background.is_quiet():
            self._look(
                View.of_query(asked["address"])
                if "address" in asked
                else self._asked.changed(_of_controls(asked)),
                push=bool(data.get("push")),
            )
        self._send_msg({"answered": True})

    def _look(self, view: View, *, push: bool = False) -> None:
        """Show a view; where it is refused, say why and leave the page as it is.

        A page on which nothing is yet shows the run as it is.

        Parameters
        ----------
        push
            whether the browser's way back leads to what was shown before.
        """
        before, self._asked = self._asked, view
        notice = waits = ""
        try:
            self._show(view, push=push)
        except RunError as error:
            # What is asked for next starts from what is still shown.
            notice, self._asked = str(error), before
        except StillCountingError as counting:
            waits = str(counting)
        if (notice or waits) and not self.view:
            self._show(View())
        self.param.update(notice=notice, waits=waits)

    def _show(self, view: View, *, push: bool = False) -> None:
        shown = self._slices.of_view(view)
        self.param.update(
            view=self._drawn(view, shown),
            details=self._details(view, shown),
            values=self._values(view, shown),
            address={"query": view.query(), "push": push},
        )

    def _values(self, view: View, shown: Slice) -> dict[str, str]:
        """What the controls show."""
        table = shown.table
        return {
            "title": " and ".join(run.name for run in self._slices.runs),
            "view": view.view,
            "where": f"{shown.run.number}/{shown.layer}",
            "q": f"{table.quantile:g}",
            "p": f"{table.percentage:g}",
            "direction": table.direction,
            "beside": view.beside,
            "groups": view.groups,
            "chosen": self._chosen(view, shown),
        }

    def _chosen(self, view: View, shown: Slice) -> str:
        """What the figures mark: a class, an image, or the equivalence class of a vector."""
        member = member_at(view.at)
        if member is None or view.view != "layer" or shown.empty:
            return view.at
        for members in members_of(shown.hierarchy):
            if member in members:
                return address_of(members[0])
        return view.at

    def _drawn(self, view: View, shown: Slice) -> str:
        """What stands in the middle."""
        if view.view == "pair":
            return self._pair(view, shown)
        if view.view in ("images", "classes"):
            return self._map(view, shown)
        several = len(self._slices.runs) > 1
        columns = [layer_column(shown, view, several=several)]
        if (other := self._slices.beside(view)) is not None:
            columns.append(layer_column(other, view, several=several))
        return rendered("layer.html.jinja", columns=columns, whole=view.whole == "all")

    def _pair(self, view: View, shown: Slice) -> str:
        names = names_of(shown, view)
        frame: pd.DataFrame | None
        if view.over == "all":
            key = ("apart", shown.run.number, shown.table.direction, *names)
            frame = self._later(key, lambda: compared_in_all(shown, *names))
        else:
            frame = compared_in_layer(shown, *names)
        waits = frame is None
        known = pd.DataFrame({"low": [], "high": []}) if frame is None else frame
        return rendered(
            "pair.html.jinja", pair=pair_of(shown, view, names, known), frame_waits=waits
        )

    def _map(self, view: View, shown: Slice) -> str:
        sample = self._slices.sample(shown.run, shown.layer)
        waits = False
        if view.view == "classes":
            drawn = draw_classes(shown, sample)
        else:
            plane: SignalMap | None = None
            if view.by == "umap" and has_umap() and len(sample) >= LEAST_IMAGES:
                key = ("umap", shown.run.number, shown.layer)
                plane = self._later(key, lambda: umap_plane(sample.signals))
                waits = plane is None
            plane = principal_plane(sample.signals) if plane is None else plane
            by = "umap" if view.by == "umap" and has_umap() else "pca"
            drawn = draw_images(shown, sample, plane, layouts_of(sample, by))
        return rendered(
            "map.html.jinja", map=drawn, title=VIEWS[view.view], layer=shown.layer, waits=waits
        )

    def _details(self, view: View, shown: Slice) -> str:
        """What stands at the side."""
        kind, _, name = view.at.partition(":")
        member, of_image, of_class, pointed = member_at(view.at), None, None, None
        if kind == "image":
            sample = self._slices.sample(shown.run, shown.layer)
            of_image = image_details(shown, name, sample)
            pointed = None if of_image is None else self._pointed(view, shown, of_image)
        if kind == "class":
            of_class = class_details(shown, name)
        node = None if member is None else node_details(shown, member)
        findings = None
        if not (node or of_class or of_image):
            findings = self._findings(shown)
        return rendered(
            "details.html.jinja",
            run=shown.run,
            layer=shown.layer,
            node=node,
            of_class=of_class,
            of_image=of_image,
            pointed=pointed,
            findings=findings,
        )

    def _findings(self, shown: Slice) -> Start:
        """The statements of a run, read beside the server: those of a great run take a while."""
        run = shown.run
        tables = len(run.target_classes) * max(one.rank for one in run.signals.layers.values())
        if tables > _FINDINGS:
            return Start([], "", "The tables of this run are large; its report says it.")
        try:
            found = self._later(
                ("findings", run.number), lambda: read_findings(run.signals.run, run.store)
            )
        except RunError as error:
            return Start([], "", str(error))
        return Start([], "", "", waits=True) if found is None else start(run, found)

    def _pointed(self, view: View, shown: Slice, image: ImageDetails) -> Pointed:
        """Overlays for the place that is pointed at, or why there are none."""
        place = place_of(view.point)
        if place is None or not image.kept:
            return Pointed(None, "")
        ids = (image.id, *(one.id for one in image.nearest))
        try:
            activations = self._later(
                ("activations", shown.run.number, shown.layer, ids),
                lambda: activations_of(shown.run, shown.layer, ids),
            )
        except RunError as error:
            return Pointed(None, str(error))
        if activations is None:
            return Pointed(None, "", waits=True)
        thumbnails = {one: shown.run.thumbnails[one] for one in ids}
        return Pointed(overlays_of(activations, *place, thumbnails), "")

    def _later(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """A result that takes long, or None; what is marked ``data-waits`` is asked for again."""
        return self._slices.background.result(key, make)


@dataclass(frozen=True)
class Pointed:
    """Overlays, or what to say in their place."""

    overlays: Overlays | None
    says: str
    waits: bool = False


def _of_controls(asked: Mapping[str, str]) -> dict[str, str]:
    """Values of a view: the control of the layer names its run too."""
    values = {str(name): str(value) for name, value in asked.items()}
    if "where" in values:
        number, _, layer = values.pop("where").partition("/")
        values |= {"run": number, "layer": layer}
    return values


def document(slices: Slices) -> pn.Template:
    """The whole page for one person, at the address that the browser asked for."""
    arguments = {
        name: values[-1].decode() for name, values in (pn.state.session_args or {}).items()
    }
    template = pn.Template(_DOCUMENT)
    template.add_panel("page", Page(slices, urlencode(arguments)))
    return template


def rendered(template: str, **context: Any) -> str:
    """A template of this room, filled in."""
    return _templates().get_template(template).render(**context)


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ddp_tasks.explorer", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"short": short, "file_name": file_name}
    environment.globals["figure"] = _figure
    return environment


def _figure(title: str, says: str, drawn: str, name: str, files: list[tuple[str, str]]) -> Markup:
    """A drawing with its title, what it shows, and the files of it that can be taken away."""
    return Markup(
        rendered("figure.html.jinja", title=title, says=says, drawn=drawn, name=name, files=files)
    )
