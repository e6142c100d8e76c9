"""Checks the links of a built site: every file and every anchor that a page names is there."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Addresses that a page names, and places in it that an address can name."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.addresses: list[str] = []
        self.places: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places.update(filter(None, (given.get("id"), given.get("name") if tag == "a" else "")))
        self.addresses += [v for k in ("href", "src") if (v := given.get(k))]

    def has(self, fragment: str) -> bool:
        """Whether an address of the page may end so."""
        return unquote(fragment) in self.places


def check(folder: Path) -> tuple[list[str], list[str]]:
    """What is wrong with the links of all pages below a folder, and the links that lead outside.

    Returns
    -------
    One line for each link to a file or an anchor that is not there; and the addresses of other
    sites, sorted, which nothing asks for here.
    """
    files = (f for f in sorted(folder.rglob("*.html")) if "_static" not in f.parts)
    pages = {file: _Page(file.read_text()) for file in files}
    wrong, outside = list[str](), set[str]()
    for file, page in pages.items():
        for address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if parts.scheme in ("http", "https"):
                    outside.add(address)
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if target.is_dir():
                target /= "index.html"
            name = file.relative_to(folder)
            if not target.is_file():
                wrong.append(f"{name}: {address} leads to no file")
            elif parts.fragment and target in pages and not pages[target].has(parts.fragment):
                wrong.append(f"{name}: {address} leads to no such place in {target.name}")
    return wrong, sorted(outside)
