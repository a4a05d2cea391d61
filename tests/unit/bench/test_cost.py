from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.cost import CLOCK_TICKS, Usage, parse_memory, parse_stat, usage

STAT = "123 (a (strange) name) S 1 123 123 0 -1 4194304 100 0 0 0 70 30 7 3 20 0 4 0 12345 1000000 500"


def test_times_of_children_that_were_waited_for_count() -> None:
    assert parse_stat(STAT) == (77, 33)


def test_memory_is_found_among_its_neighbours() -> None:
    rollup = "55e0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:    1024 kB\nPss:     512 kB\nPss_Dirty:    256 kB\n"
    assert parse_memory(rollup) == (1024 * 1024, 512 * 1024)


def test_what_was_added_is_a_difference() -> None:
    spent = Usage(3.0, 2.0, 500, 400).since(Usage(1.0, 0.5, 100, 150))
    assert spent == Usage(2.0, 1.5, 400, 250)
    assert spent.cpu_s == 3.5


def test_all_threads_and_children_are_seen() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as parent:
        place = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        while not (children := place.read_text().split()):
            assert parent.poll() is None
        child = usage(int(children[0]))
        both = usage(parent.pid)
        assert both.resident > child.resident > 0
        parent.communicate(b"\n")


def test_own_time_is_that_of_the_process() -> None:
    before = os.times()
    found = usage(os.getpid())
    tick = 1 / CLOCK_TICKS
    assert before.user - tick <= found.user_s - before.children_user
    assert found.resident >= found.proportional > 0
