"""Names and values of any kind and length as a person is shown them: one short line."""

from __future__ import annotations

import unicodedata

#: Control and format characters, halves of characters, and separators of lines and paragraphs.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
#: Format characters that scripts and emoji are written with.
_JOINERS = {"\u200c", "\u200d"}


def shown(text: str, most: int = 80) -> str:
    """A text on one line, its middle left out where it is long, and what is not seen escaped.

    A line break, a terminal's escape sequence or a mark that turns the direction of writing
    would otherwise act on whatever stands around the text.

    Parameters
    ----------
    most
        characters, before any are escaped.
    """
    if len(text) > most:
        ending = most // 3
        text = f"{text[: most - ending - 1]}…{text[-ending:]}"
    return seen(text)


def seen(text: str) -> str:
    """A text of one line in which what is not seen is escaped, such as a line break."""
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unseen(c) else c for c in text)


def error_shown(error: BaseException, most: int = 300) -> str:
    """The kind of an error and the first line of what it says.

    Parameters
    ----------
    most
        characters of that line.
    """
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - some cannot even say what they are
        lines = []
    kind = type(error).__name__
    return f"{kind}: {shown(lines[0], most)}" if lines else kind


def unseen(character: str) -> bool:
    """Whether a character is not seen, or acts on how others are seen."""
    return unicodedata.category(character) in _UNSEEN and character not in _JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
