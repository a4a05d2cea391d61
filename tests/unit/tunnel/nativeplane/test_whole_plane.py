"""A plane with all its threads, while control changes everything: no data race, no bad access, nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.tunnel.nativeplane.library import ALL_SOURCES, SANITIZERS, program

DRIVER = str(Path(__file__).parents[3] / "native" / "whole_plane.c")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(bool(SANITIZERS), reason="has sanitizers of its own")
def test_the_threads_race_for_nothing() -> None:
    # ThreadSanitizer's shadow needs addresses that are not random on some kernels.
    run("setarch", "-R", str(program(DRIVER, *ALL_SOURCES, sanitizers="thread")), "4")


@pytest.mark.skipif(bool(SANITIZERS), reason="has sanitizers of its own")
def test_nothing_is_read_before_it_is_written_and_nothing_is_left_behind() -> None:
    assert shutil.which("valgrind"), "valgrind is missing: tools/system-packages test installs it"
    valgrind = (
        "valgrind",
        "-q",
        "--error-exitcode=9",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,possible",
    )
    run(*valgrind, str(program(DRIVER, *ALL_SOURCES, sanitizers="")), "4")


@pytest.mark.skipif(bool(SANITIZERS), reason="has sanitizers of its own")
def test_every_access_is_within_bounds() -> None:
    run(str(program(DRIVER, *ALL_SOURCES, sanitizers="address,undefined")), "3")
