"""Names and values of any kind and length as one short line of a message."""

from __future__ import annotations

import unicodedata

#: Control and format characters, halves of characters, and separators of lines and paragraphs.
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
#: Format characters that scripts and emoji are written with.
_JOINERS = {"\u200c", "\u200d"}


def shown(text: str, most: int = 80) -> str:
    """A text on one line: long ones without their middle, invisible characters escaped.

    A line break, a terminal's escape sequence or a mark that turns the direction of writing
    would otherwise affect the text around it.

    Parameters
    ----------
    most
        characters kept, counted before any are escaped.
    """
    if len(text) > most:
        ending = most // 3
        text = f"{text[: most - ending - 1]}…{text[-ending:]}"
    return escaped(text)


def escaped(text: str) -> str:
    """A text on one line, with invisible characters such as line breaks escaped."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if invisible(c) else c for c in text)


def error_shown(error: BaseException, most: int = 300) -> str:
    """The kind of an error and the first line of its message.

    Parameters
    ----------
    most
        characters of that line.
    """
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - some errors cannot be written as text
        lines = []
    kind = type(error).__name__
    return f"{kind}: {shown(lines[0], most)}" if lines else kind


def invisible(character: str) -> bool:
    """Whether a character is invisible, or changes how others look."""
    return unicodedata.category(character) in _INVISIBLE and character not in _JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
