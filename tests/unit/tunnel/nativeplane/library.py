"""Compiles sources of the native core into a shared library, and loads it."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import tempfile
from pathlib import Path

CORE = Path(__file__).parents[4] / "tunnel" / "nativeplane" / "core"
SANITIZERS = os.environ.get("PORTWAY_SANITIZE", "")
"""What to compile with, such as `address,undefined`; the runtime has to be preloaded then."""
FLAGS = (
    *("-std=gnu11", "-O2", "-g", "-fPIC", "-pthread", "-DOCTETS_TRAP"),
    *("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wstrict-prototypes"),
)


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="portway-native-")


@functools.cache
def load(*sources: str) -> ctypes.CDLL:
    """The named sources of the core as one library; a test's own C is named by its whole path."""
    target = Path(_directory().name) / ("-".join(Path(name).stem for name in sources) + ".so")
    sanitize = [f"-fsanitize={SANITIZERS}", "-fno-omit-frame-pointer"] if SANITIZERS else []
    command = [
        "cc",
        *FLAGS,
        *sanitize,
        "-shared",
        f"-I{CORE}",
        "-o",
        str(target),
        *(str(CORE / name) for name in sources),
        "-lcrypto",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(target))


class Span(ctypes.Structure):
    """`struct span`."""

    _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_size_t))

    def octets(self) -> bytes:
        """A copy of what it spans."""
        return ctypes.string_at(self.at, self.size) if self.size else b""


class Buffer:
    """Octets that C may change, exactly as long as they are: a sanitizer sees the first one too many."""

    def __init__(self, octets: bytes, room: int | None = None) -> None:
        """`room` octets in all, if it is more than there are."""
        size = len(octets) if room is None else room
        self._memory = (ctypes.c_uint8 * max(size, 1)).from_buffer_copy(octets.ljust(max(size, 1), b"\0"))
        self.span = Span(ctypes.addressof(self._memory), size)

    def octets(self) -> bytes:
        return self.span.octets()
