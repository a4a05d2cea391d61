"""One run of one scenario with one server, from an empty lab to figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.calls import measure_reads, measure_rule_changes
from tests.bench.managed import Endpoint, managed_config, start_api, store_url, wait_for_daemon
from tests.bench.rig import Rig
from tests.bench.scenarios import Connects, Crowd, Flooded, Latency, Packets, Reads, RuleChanges, Streams
from tests.bench.servers import SERVERS, Contestant, Material
from tests.bench.sessions import measure_connects, measure_crowd, measure_flooded, measure_latency
from tests.bench.transfers import measure_packets, measure_streams
from tests.lab import Gateway, Lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.rig import Figures
    from tests.bench.scenarios import Scenario, Work

__all__ = ["can_do", "run_once"]


def can_do(contestant: Contestant, work: Work) -> bool:
    """Whether this work says something about this server: OpenVPN has no API, and reading it takes no data plane."""
    match work:
        case Reads():
            return contestant is Contestant.NATIVE
        case RuleChanges():
            return contestant is not Contestant.OPENVPN
        case _:
            return True


def run_once(contestant: Contestant, scenario: Scenario, directory: Path, library: Path, *, seconds: float) -> Figures:
    """Build a lab, start the server in it, measure, and take everything down."""
    material = Material.make(directory)
    with Lab(directory, clients=_namespaces(scenario.work), machines_apart=True) as lab:
        match scenario.work:
            case Reads():
                return _read(lab, material, scenario.work)
            case RuleChanges():
                return _change_rules(lab, material, scenario, contestant.value, library)
        with SERVERS[contestant].start(lab, material, scenario.setting) as process:
            return _measure(Rig(lab, material, scenario.setting, process, library, seconds), scenario.work)


def _namespaces(work: Work) -> int:
    match work:
        case Streams(clients=count):
            return count
        case Latency() | Flooded():
            return 2
        case _:
            return 1


def _measure(rig: Rig, work: Work) -> Figures:
    match work:
        case Streams():
            return measure_streams(rig, work)
        case Packets():
            return measure_packets(rig, work)
        case Latency():
            return measure_latency(rig, work)
        case Connects():
            return measure_connects(rig, work)
        case Flooded():
            return measure_flooded(rig, work)
        case Crowd():
            return measure_crowd(rig, work)
        case _:
            raise TypeError(f"{work} needs more than a server")


def _read(lab: Lab, material: Material, work: Reads) -> Figures:
    with store_url(work.store) as store:
        config = managed_config(lab, material.directory, store=store)
        with start_api(lab, material.directory, config) as api:
            return measure_reads(lab, api, material, work)


def _change_rules(lab: Lab, material: Material, scenario: Scenario, plane: str, library: Path) -> Figures:
    assert isinstance(scenario.work, RuleChanges)
    config = managed_config(lab, material.directory, plane=plane)
    with (
        Gateway(lab.gateway, material.directory, config, log=lab.log("portway")) as gateway,
        start_api(lab, material.directory, config) as api,
    ):
        wait_for_daemon(api.client())
        endpoint = Endpoint.create(api.client(), material)
        endpoint.associate()
        endpoint.write_tls_crypt_key(material.tls_crypt)
        rig = Rig(lab, material, scenario.setting, gateway, library, seconds=0)
        return measure_rule_changes(rig, endpoint, scenario.work)
