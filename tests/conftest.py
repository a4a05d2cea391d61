"""What all tests share: which of them can run here, and how hard hypothesis tries.

Tests marked `netns` or `interop` need root, network namespaces and (interop) the stock client; those marked `native`
need the compiled data plane, those marked `postgresql` a database server that they start themselves, and those marked
`systemd` a kernel where they can boot one. Where these are missing they are skipped; with PORTWAY_REQUIRE_INTEROP=1, as
`.ci/run` sets it, not running one is a failure.
"""

from __future__ import annotations

import functools
import importlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.lab.postgres import postgres_programs
from tests.lab.systemd_host import boot_problem

if TYPE_CHECKING:
    from collections.abc import Generator

REQUIRED = os.environ.get("PORTWAY_REQUIRE_INTEROP") == "1"
PRIVILEGED = ("interop", "netns", "systemd")
CONDITIONAL = (*PRIVILEGED, "native", "postgresql")
COMMANDS = {
    "netns": ("ip", "nft", "ping"),
    "interop": ("ip", "nft", "ping", "openvpn", "curl", "iperf3"),
    "systemd": ("systemd-nspawn", "nsenter", "make", "cc"),
}
FUZZ_EXAMPLES = 20_000

# No deadlines: how long an example takes says nothing on a machine that does other things as well.
settings.register_profile(
    "house",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("fuzz", settings.get_profile("house"), derandomize=False, max_examples=FUZZ_EXAMPLES)
settings.load_profile("house")


@functools.cache
def _native_is_compiled() -> bool:
    try:
        importlib.import_module("tunnel.nativeplane")
    except ImportError:
        return False
    return True


def _lacking(item: pytest.Item) -> str | None:
    """Why this test cannot run here; None where it can."""
    if item.get_closest_marker("native") and not _native_is_compiled():
        return "needs the native data plane, which is not compiled"
    if item.get_closest_marker("postgresql") and postgres_programs() is None:
        return "needs PostgreSQL's server"
    marks = [mark for mark in PRIVILEGED if item.get_closest_marker(mark)]
    if marks and os.geteuid():
        return "needs root"
    missing = {command for mark in marks for command in COMMANDS[mark] if shutil.which(command) is None}
    if missing:
        return f"needs {', '.join(sorted(missing))}"
    return boot_problem() if "systemd" in marks else None


def _is_conditional(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in CONDITIONAL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if reason := _lacking(item):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRED and report.skipped and _is_conditional(item):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} has to run here, but was skipped: {report.longrepr}"
    return report


def pytest_deselected(items: list[pytest.Item]) -> None:
    if REQUIRED and any(map(_is_conditional, items)):
        raise pytest.UsageError(f"PORTWAY_REQUIRE_INTEROP=1, but {', '.join(CONDITIONAL)} tests were deselected")


def pytest_collection_finish(session: pytest.Session) -> None:
    if REQUIRED and not any(item.get_closest_marker("interop") for item in session.items):
        raise pytest.UsageError("PORTWAY_REQUIRE_INTEROP=1, but no interop test was collected")
