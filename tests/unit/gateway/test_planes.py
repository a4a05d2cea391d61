from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.planes import PlaneUnavailable, choose_plane, native_problem
from tests.unit.tunnel.plane_suite.rig import settings
from tunnel.pyplane import PythonDataPlane

if TYPE_CHECKING:
    from tunnel import PlaneSettings


@pytest.fixture
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extension."""
    for name in [name for name in sys.modules if name.startswith("tunnel.nativeplane")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tunnel.nativeplane._core", None)


def test_python_is_had_for_the_asking() -> None:
    choice = choose_plane("python", 4)
    assert (choice.kind, choice.name, choice.workers, choice.reason) == (PythonDataPlane, "python", 1, "")


@pytest.mark.native
@pytest.mark.parametrize("wanted", ["auto", "native"])
def test_the_native_plane_is_taken_where_it_is(wanted: str) -> None:
    from tunnel.nativeplane import NativeDataPlane

    choice = choose_plane(wanted, 3)  # type: ignore[arg-type]
    assert (choice.kind, choice.name, choice.workers, choice.reason) == (NativeDataPlane, "native", 3, "")
    assert native_problem() is None


@pytest.mark.native
@pytest.mark.parametrize(("cores", "workers"), [({2, 3, 5}, 3), (set(range(200)), 64)])
def test_there_is_a_worker_for_each_core_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert choose_plane("auto", 0).workers == workers


def test_without_the_extension_python_runs_and_the_reason_is_known(not_compiled: None) -> None:
    choice = choose_plane("auto", 3)
    assert (choice.kind, choice.name, choice.workers) == (PythonDataPlane, "python", 1)
    assert choice.reason.startswith("it was not compiled: a C compiler")


def test_without_the_extension_who_insists_on_it_is_told_why_not(not_compiled: None) -> None:
    with pytest.raises(PlaneUnavailable) as refusal:
        choose_plane("native", 0)
    assert str(refusal.value) == native_problem()
    assert str(refusal.value).startswith("The native data plane cannot be had: it was not compiled")


def test_an_extension_that_does_not_load_says_so_itself(not_compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "tunnel.nativeplane._core":
                raise ImportError("libcrypto.so.3: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "tunnel.nativeplane._core")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert choose_plane("auto", 0).reason == "libcrypto.so.3: cannot open shared object file"


def test_the_workers_reach_the_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[PlaneSettings] = []
    monkeypatch.setattr(PythonDataPlane, "open", opened.append)
    choose_plane("python", 4).open(settings(workers=9))
    assert [chosen.workers for chosen in opened] == [1]
