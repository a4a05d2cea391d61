"""Runs a test in a network namespace of its own, in this process: a namespace belongs to a thread, so it gets one."""

from __future__ import annotations

import functools
import os
import secrets
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from pyroute2 import netns

if TYPE_CHECKING:
    from collections.abc import Callable


def ip(command: str) -> None:
    """`ip` in the namespace of the calling thread."""
    subprocess.run(["ip", *command.split()], check=True)


def in_new_namespace(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test with `netns`, and run it where only its own devices are."""

    def enter_and_run(name: str, failures: list[BaseException], arguments: dict[str, object]) -> None:
        try:
            netns.setns(name)
            ip("link set lo up")
            test(**arguments)
        except BaseException as failure:  # noqa: BLE001 - it is raised again in the test's own thread
            failures.append(failure)

    @functools.wraps(test)
    def wrapped(**arguments: object) -> None:
        name = f"pw-{os.getpid()}-{secrets.token_hex(2)}-tun"
        failures: list[BaseException] = []
        netns.create(name)
        try:
            thread = threading.Thread(target=enter_and_run, args=(name, failures, arguments))
            thread.start()
            thread.join()
        finally:
            netns.remove(name)
        if failures:
            raise failures[0]

    marked: Callable[..., None] = pytest.mark.netns(wrapped)
    return marked
