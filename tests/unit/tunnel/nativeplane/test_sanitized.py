"""The core's tests once more, in a process of their own, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.tunnel.nativeplane.library import SANITIZERS

HERE = Path(__file__).parent
ROOT = HERE.parents[3]


def runtime(name: str) -> str:
    return subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(bool(SANITIZERS), reason="this is that process")
def test_the_core_passes_its_tests_under_sanitizers() -> None:
    # Whether everything ran that has to is asked of the tests as a whole.
    inherited = {name: value for name, value in os.environ.items() if name != "PORTWAY_REQUIRE_INTEROP"}
    environment = inherited | {
        "PORTWAY_SANITIZE": "address,undefined",
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
        # What the interpreter itself leaves behind at its end is not ours.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
