"""The explorer's server: on this machine alone, under an address that nobody can guess."""

from __future__ import annotations

import gc
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError

from ddp_tasks.explorer.opened_runs import Opening, open_runs
from ddp_tasks.explorer.slices import Slices
from ddp_tasks.explorer.view_state import View
from schemas.run_error import RunError

HOST = "127.0.0.1"
#: Bytes of chance in an address.
_TOKEN = 24
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke-width="1.6">'
    '<circle cx="6" cy="6" r="4.6" stroke="#2385ff"/><circle cx="10" cy="6" r="4.6" '
    'stroke="#a91008"/><circle cx="8" cy="10" r="4.6" stroke="#04b070"/></svg>'
)
_WEEK = 7 * 24 * 3600


class _Reading(RequestHandler):
    """Answers for files of the runs; nothing can be written."""

    def initialize(self, slices: Slices) -> None:
        self.slices = slices

    def set_default_headers(self) -> None:
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")


class _Pictures(_Reading):
    """Pictures of images, by their place in the store."""

    def get(self, number: str, name: str) -> None:
        """One picture."""
        try:
            content = self.slices.run_of(number).thumbnails.file(name)
        except (RunError, KeyError):
            raise HTTPError(404) from None
        self.set_header("Content-Type", f"image/{name.rpartition('.')[2]}")
        self.set_header("Cache-Control", f"private, max-age={_WEEK}")
        self.finish(content)


class _Icon(_Reading):
    """The icon of the browser's tab: one vector of three classes."""

    def get(self) -> None:
        """The icon."""
        self.set_header("Content-Type", "image/svg+xml")
        self.finish(_ICON)


def _is_of_no_closed_tab(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], WebSocketClosedError))


class _Files(_Reading):
    """What a view shows, as a file."""

    def get(self, name: str) -> None:
        """A table as CSV, or a hypergraph as HIF."""
        # What draws is loaded beside the first reading, and not before it.
        from ddp_tasks.explorer.taken_away import hif_file, pair_file, table_file

        view = View.of_query(self.request.query)
        try:
            shown = self.slices.of_view(view)
            if name.endswith(".pair.csv"):
                content, kind = pair_file(shown, view), "text/csv; charset=utf-8"
            elif name.endswith(".csv"):
                content, kind = table_file(shown), "text/csv; charset=utf-8"
            elif name.endswith(".hif.json"):
                content, kind = hif_file(shown), "application/json"
            else:
                raise HTTPError(404)
        except RunError as error:
            raise HTTPError(400, str(error)) from None
        self.set_header("Content-Type", kind)
        # A header holds no other letters; the link itself says what the file is called.
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name)}")
        self.finish(content)


class Explorer:
    """A server that is ready, but not started."""

    def __init__(
        self, folders: Sequence[Path], port: int = 0, opening: Opening | None = None
    ) -> None:
        """Open the runs, and take the port.

        Raises
        ------
        RunError
            If a folder holds no finished run, two runs share no class, or the port is taken.
        """
        self._slices = Slices(open_runs(folders, opening))
        _check_port(port)
        # What is shown first is read while Panel is imported, which takes a second.
        self._slices.prepare()
        import panel as pn
        from panel.io.server import get_server

        from ddp_tasks.explorer import page

        pn.extension()
        token = secrets.token_urlsafe(_TOKEN)
        slices = {"slices": self._slices}
        self._server = get_server(
            {"/": lambda: page.document(self._slices)},
            port=port,
            address=HOST,
            prefix=f"/{token}",
            websocket_origin=[f"{HOST}:{port}"] if port else None,
            extra_patterns=[
                (r"/pictures/([12])/([^/]+)", _Pictures, slices),
                (r"/take/([^/]+)", _Files, slices),
                (r"/favicon.ico", _Icon, slices),
            ],
            title="Explorer",
            index=None,
        )
        # Only now is a free port known.
        origins = self._server._tornado.websocket_origins
        origins.clear()
        origins |= {f"{name}:{self._server.port}" for name in (HOST, "localhost")}
        self.address = f"http://{HOST}:{self._server.port}/{token}/"

    def serve(self, started: Callable[[str], Any]) -> None:
        """Answer until the process ends or ``stop`` is called.

        Parameters
        ----------
        started
            called with the address once it answers.
        """
        self._server.start()
        loop = self._server.io_loop
        loop.add_callback(started, self.address)
        loop.start()

    def stop(self) -> None:
        """End ``serve``, from any thread."""
        self._server.io_loop.add_callback(self._server.io_loop.stop)


def _check_port(port: int) -> None:
    """Refuse a port that another server has."""
    with closing(socket.socket()) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise RunError(f"port {port} of {HOST} cannot be taken: {error}") from None


def explore(
    folders: Sequence[Path],
    *,
    port: int = 0,
    opening: Opening | None = None,
    started: Callable[[str], Any],
) -> None:
    """Serve the explorer of one finished run, or of two, until the process ends.

    Parameters
    ----------
    port
        of 127.0.0.1; 0 takes a free one.
    opening
        how network and images are found again, for similarity overlays.
    started
        called with the address once it answers.

    Raises
    ------
    RunError
        If a folder holds no finished run, two runs share no class, or the port is taken.
    """
    # Requests that are refused name the token, and an option that this command does not have.
    for name in ("tornado.access", "tornado.general", "bokeh.server.views.ws"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # A tab that is closed while its answer is on the way is nothing that anybody can act on.
    logging.getLogger("asyncio").addFilter(_is_of_no_closed_tab)
    explorer = Explorer(folders, port, opening)
    # What was imported stays; to look through it for garbage would hold up a redraw now and then.
    gc.freeze()
    explorer.serve(started)
