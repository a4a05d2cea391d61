"""Compiles sources of the native core into a shared library, and loads it; or into a program."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import tempfile
from pathlib import Path

CORE = Path(__file__).parents[4] / "tunnel" / "nativeplane" / "core"
ALL_SOURCES = tuple(path.name for path in sorted(CORE.glob("*.c")))
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
def load(*sources: str, flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The named sources of the core as one library; a test's own C is named by its whole path."""
    return ctypes.CDLL(str(_compile(sources, ".so", "-shared", *flags)))


@functools.cache
def program(*sources: str, sanitizers: str = SANITIZERS, flags: tuple[str, ...] = ()) -> Path:
    """The same as a program: one of them has a `main`."""
    return _compile(sources, "", *flags, sanitizers=sanitizers)


def _compile(sources: tuple[str, ...], suffix: str, *flags: str, sanitizers: str = SANITIZERS) -> Path:
    names = "-".join(Path(name).stem for name in sources)
    target = Path(_directory().name) / f"{names[:100]}-{abs(hash((sources, flags, sanitizers)))}{suffix}"
    sanitize = [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer"] if sanitizers else []
    files = [str(CORE / name) for name in sources]
    command = ["cc", *FLAGS, *sanitize, *flags, f"-I{CORE}", "-o", str(target), *files, "-lcrypto"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


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
