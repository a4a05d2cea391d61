"""A login banner as clients take it: pushed `echo` options, which OpenVPN hands to its user interface.

    echo "msg-n TEXT"           to be shown
    echo "msg TEXT"             to be shown, with the end of a line; without TEXT an empty line
    echo "msg-window TITLE"     show it now

OpenVPN's doc/gui-notes.txt has the commands, and percent encoding for what an option could not hold. Everything but the
plainest characters is encoded, so that no text can be anything but text to a client.
"""

from __future__ import annotations

import string
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["banner_options"]

MAX_TEXT = 200
"""Octets in one command. Clients read options of up to 255, and their management interface lines of as many."""
TITLE = "Message from the gateway"

_PLAIN = frozenset(f"{string.ascii_letters}{string.digits} -._~!()*:/?=&@")


def banner_options(text: str) -> Iterator[str]:
    """The options that show a text; none for an empty one. Control characters are left out."""
    lines = text.rstrip().splitlines()
    for line in lines:
        *pieces, last = _pieces(line)
        yield from (f'echo "msg-n {piece}"' for piece in pieces)
        yield f'echo "msg {last}"' if last else "echo msg"
    if lines:
        yield f'echo "msg-window {TITLE}"'


def _pieces(line: str) -> list[str]:
    """The line, encoded, in pieces of whole characters."""
    pieces = [""]
    for character in map(_encoded, line):
        if len(pieces[-1]) + len(character) > MAX_TEXT:
            pieces.append("")
        pieces[-1] += character
    return pieces


def _encoded(character: str) -> str:
    if character in _PLAIN:
        return character
    if unicodedata.category(character) == "Cc" and character != "\t":
        return ""
    return "".join(f"%{octet:02X}" for octet in character.encode(errors="replace"))
