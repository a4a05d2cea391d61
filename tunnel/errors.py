"""The exceptions of the tunnel package.

    TunnelError
    ├── LocalError             this program used the package wrongly, or was configured wrongly
    │   ├── KeyFileError       a key file is not what it should be
    │   └── TlsConfigError     a certificate, key, CA or CRL that OpenSSL will not take
    └── RemoteError            the peer broke the protocol; the only family that bytes from the network can raise
        ├── BadPacket          one packet is malformed, not authentic or replayed: drop it, count it, go on
        └── HandshakeError     the association cannot go on: carries the reason that goes into the log

A device that the operating system refuses is an `OSError`, as everywhere in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunnel.events import CloseReason

__all__ = [
    "BadPacket",
    "HandshakeError",
    "KeyFileError",
    "LocalError",
    "RemoteError",
    "TlsConfigError",
    "TunnelError",
]


class TunnelError(Exception):
    """Anything that goes wrong in the tunnel package."""


class LocalError(TunnelError):
    """This program used the package wrongly, or was configured wrongly."""


class KeyFileError(LocalError):
    """A key file does not hold the key that it should; the text says what is wrong with it."""


class TlsConfigError(LocalError):
    """OpenSSL refuses a certificate, key, CA or CRL; the text says which and why."""


class RemoteError(TunnelError):
    """The peer broke the protocol. Bytes from the network raise nothing else."""


class BadPacket(RemoteError):  # noqa: N818 - the field's word; it is not an error of ours
    """One packet is malformed, not authentic, or replayed. Drop it, count it, go on."""


class HandshakeError(RemoteError):
    """The association cannot go on."""

    def __init__(self, reason: CloseReason, text: str) -> None:
        """`reason` goes into the log as a code, `text` as a sentence."""
        super().__init__(text)
        self.reason = reason
        self.text = text
