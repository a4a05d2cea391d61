"""Threads that share the core, and a lack of memory: drivers in C, under whatever notices what a test cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from random import randrange
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.nativeplane import keys
from tests.unit.tunnel.nativeplane.library import CORE, FLAGS, SANITIZERS

if TYPE_CHECKING:
    from collections.abc import Sequence

DRIVERS = Path(__file__).parents[3] / "native"
SOURCES = {
    "concurrency": ("access.c", "events.c", "peers.c", "reclaim.c", *keys.SOURCES),
    "waking": ("events.c",),
    "scarcity": ("access.c", "events.c", "peers.c", "reclaim.c", "stream.c", "udp.c", *keys.SOURCES),
}
KINDS = {driver: (driver, ()) for driver in SOURCES} | {
    f"{driver} with libcrypto": (driver, keys.BACK_ENDS["libcrypto"]) for driver in ("concurrency", "scarcity")
}
WRAPPED = tuple(f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "aligned_alloc"))
LINKED = {"scarcity": WRAPPED}
SECONDS = 2
DEADLINE_S = 120
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | {
    "TSAN_OPTIONS": "halt_on_error=1",
    "ASAN_OPTIONS": "detect_leaks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}

pytestmark = [
    pytest.mark.skipif(bool(SANITIZERS), reason="the drivers bring sanitizers of their own"),
    pytest.mark.parametrize("kind", KINDS),
]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=DEADLINE_S)


def build(kind: str, directory: Path, *sanitize: str) -> Path:
    driver, flags = KINDS[kind]
    binary = directory / driver
    sources = [DRIVERS / f"{driver}.c", *(CORE / name for name in SOURCES[driver])]
    done = run(
        "cc", *FLAGS, *flags, *sanitize, f"-I{CORE}", "-o", binary, *sources, *LINKED.get(driver, ()), "-lcrypto"
    )
    assert done.returncode == 0, done.stderr
    return binary


def without_random_addresses() -> Sequence[str]:
    """ThreadSanitizer does not know every layout of memory; where this is not allowed, it may still be lucky."""
    allowed = shutil.which("setarch") and run("setarch", "-R", "true").returncode == 0
    return ("setarch", "-R") if allowed else ()


def check(*command: str | Path) -> None:
    seed = str(randrange(2**32))
    done = run(*command, str(SECONDS), seed)
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-8000:]}"
    assert done.stderr == ""


def test_no_thread_sees_what_another_is_writing(kind: str, tmp_path: Path) -> None:
    check(*without_random_addresses(), build(kind, tmp_path, "-fsanitize=thread"))


def test_no_thread_uses_what_is_gone_and_nothing_stays_behind(kind: str, tmp_path: Path) -> None:
    check(build(kind, tmp_path, "-fsanitize=address,undefined"))


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
def test_valgrind_finds_nothing(kind: str, tmp_path: Path) -> None:
    quiet = ("--quiet", "--fair-sched=yes", "--error-exitcode=9")
    check("valgrind", *quiet, "--leak-check=full", "--show-leak-kinds=definite,possible", build(kind, tmp_path))
