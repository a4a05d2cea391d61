"""Text messages inside TLS: PUSH_REQUEST, PUSH_REPLY, AUTH_FAILED, RESTART, HALT, EXIT.

A message is printable text and a NUL. Each is written as a TLS record of its own, because OpenVPN 2.4 and
early 2.5 and 2.6 releases read only the first message of a record.
"""

from __future__ import annotations

import re

from tunnel.errors import HandshakeError
from tunnel.events import CloseReason

__all__ = [
    "AUTH_FAILED",
    "EXIT",
    "HALT",
    "MAX_MESSAGE",
    "PUSH_REPLY",
    "PUSH_REQUEST",
    "RESTART",
    "MessageReader",
    "build_message",
]

PUSH_REQUEST = "PUSH_REQUEST"
PUSH_REPLY = "PUSH_REPLY"
AUTH_FAILED = "AUTH_FAILED"
RESTART = "RESTART"
HALT = "HALT"
EXIT = "EXIT"

MAX_MESSAGE = 1024
"""Octets of a message sent, the NUL included. 2.4 cuts and 2.6 drops anything over 2048."""

MAX_UNREAD = 4096
"""Octets of an unfinished message received; clients have nothing long to say."""

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def build_message(text: str) -> bytes:
    """A message as it goes into TLS: cut to `MAX_MESSAGE`, unprintable characters as question marks."""
    return _UNPRINTABLE.sub("?", text)[: MAX_MESSAGE - 1].encode("ascii") + b"\x00"


class MessageReader:
    """Cuts plaintext into messages; what is not printable is left out (CVE-2024-5594)."""

    __slots__ = ("_unfinished",)

    def __init__(self) -> None:
        self._unfinished = b""

    def feed_untrusted(self, plaintext: bytes) -> list[str]:
        """The whole messages so far. Raises `HandshakeError` for one that exceeds `MAX_UNREAD`."""
        *whole, self._unfinished = (self._unfinished + plaintext).split(b"\x00")
        if len(self._unfinished) > MAX_UNREAD or any(len(message) > MAX_UNREAD for message in whole):
            raise HandshakeError(CloseReason.PROTOCOL_ERROR, f"A control message is larger than {MAX_UNREAD} octets.")
        texts = (message.rstrip(b"\r\n").decode("latin-1") for message in whole)
        return [text for text in texts if text and not _UNPRINTABLE.search(text)]
