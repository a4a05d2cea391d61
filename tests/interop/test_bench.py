"""The bench runs: no figure is judged here, but that what it sends arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench.load.native import compile_library
from tests.bench.measure import run_once
from tests.bench.scenarios import Crowd, Flooded, Packets, Peer, Reads, RuleChanges, Scenario, Streams
from tests.bench.servers import Contestant

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.scenarios import Work

pytestmark = pytest.mark.interop

CROWD = Crowd(clients=5, rounds=3, echoes_per_s=100)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("load") / "load_client.so")


def measure(contestant: Contestant, work: Work, directory: Path, library: Path) -> dict[str, float]:
    return run_once(contestant, Scenario("test", "", work), directory, library, seconds=1)


@pytest.mark.parametrize("contestant", Contestant, ids=lambda contestant: contestant.value)
def test_every_server_serves_a_crowd_of_load_clients(contestant: Contestant, tmp_path: Path, library: Path) -> None:
    figures = measure(contestant, CROWD, tmp_path, library)
    assert (figures["clients"], figures["sent"], figures["lost"]) == (5, 15, 0)


@pytest.mark.parametrize("contestant", Contestant, ids=lambda contestant: contestant.value)
def test_clients_connect_while_another_floods(contestant: Contestant, tmp_path: Path, library: Path) -> None:
    figures = measure(contestant, Flooded(connects_per_s=5), tmp_path, library)
    assert figures["calm.connect_ms"] > 0
    assert figures["flooded.connect_ms"] > 0
    assert figures["flooded.arrived_kpps"] > 0


@pytest.mark.parametrize("work", [Streams(Peer.LOAD, streams=2), Packets((64, 576))], ids=["streams", "packets"])
def test_a_load_moves_packets_both_ways(work: Work, tmp_path: Path, library: Path) -> None:
    figures = measure(Contestant.OPENVPN, work, tmp_path, library)
    assert figures["up.mbit_per_s"] > 0
    assert figures["down.mbit_per_s"] > 0


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_a_caller_reads_an_endpoint_with_all_that_belongs_to_it(store: str, tmp_path: Path, library: Path) -> None:
    work = Reads(rules=3, connections=7, reads=4, store=store)
    figures = measure(Contestant.NATIVE, work, tmp_path, library)
    for read in ("endpoints", "rules", "connections"):
        assert 0 < figures[f"{read}.server_p50_ms"] < figures[f"{read}.call_p50_ms"]


@pytest.mark.parametrize("contestant", [Contestant.NATIVE, Contestant.PYTHON], ids=lambda contestant: contestant.value)
def test_a_rule_that_comes_and_goes_is_seen_by_clients_that_are_connected(
    contestant: Contestant, tmp_path: Path, library: Path
) -> None:
    figures = measure(contestant, RuleChanges(clients=5, sample=3, changes=2), tmp_path, library)
    assert figures["clients"] == 5
    assert figures["allowed.max_ms"] > 0
    assert figures["refused.max_ms"] > 0
