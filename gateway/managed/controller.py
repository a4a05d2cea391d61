"""Makes what runs follow what the store asks for, and tells what became of each endpoint.

It knows neither the database nor when to act: a snapshot goes in, outcomes come out; doing it again changes nothing.
An endpoint that runs already keeps what it has against one that would take it away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import trio

from gateway.hostnet import HostNetworkError
from gateway.managed.building import Builder, Built, Circumstances
from gateway.managed.judging import build_and_judge, with_former_settings
from gateway.managed.statuses import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.config import Config
    from gateway.fleet import Fleet
    from gateway.hostnet import HostProblem
    from gateway.managed.snapshot import ManagedEndpoint, Snapshot
    from gateway.reload import Reconciler
    from gateway.store import Vault
    from policy import EndpointSpec, HostFacts

__all__ = ["Controller"]

AGAIN_S = 60.0
"""Before settings are tried again with which an endpoint could not be put up; doubles up to `AGAIN_MOST_S`."""
AGAIN_MOST_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Refused:
    """Settings that an endpoint could not be put up with: to try costs its clients their sessions."""

    settings: EndpointSpec
    problem: str
    again_at: float
    pause_s: float


class Controller:
    """Brings snapshots to the fleet."""

    def __init__(
        self,
        reconciler: Reconciler,
        fleet: Fleet,
        vault: Vault,
        *,
        unix_time: Callable[[], float] = time.time,
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        self._reconciler = reconciler
        self._fleet = fleet
        self._vault = vault
        self._unix_time = unix_time
        self._now = now
        self._former: tuple[object, dict[str, tuple[ManagedEndpoint, Built]]] = (None, {})
        """What was built the last time, of which rows and among what."""
        self._refused: dict[str, _Refused] = {}

    async def carry_out(self, snapshot: Snapshot, host_problems: Sequence[HostProblem] = ()) -> dict[str, Outcome]:
        """Apply a snapshot; what became of each endpoint, by its id. Of a fleet that is closed nothing is told.

        `host_problems` is what the host's network was found to lack.
        """
        built: dict[str, Built] = {}

        def choose(config: Config, facts: HostFacts) -> list[EndpointSpec]:
            built.update(self._build(snapshot, config, facts))
            return [one.spec for one in built.values() if one.spec is not None]

        former = {endpoint.name for endpoint in self._reconciler.managed}
        try:
            failures = await self._reconciler.reconcile_managed(choose)
        except HostNetworkError as error:
            failures = {endpoint.row.id: str(error) for endpoint in snapshot.endpoints}
        if self._fleet.is_closed:  # that the gateway ends is no fault of any endpoint's
            return {}
        self._remember_refusals(built, failures, former)
        outcomes = {}
        for endpoint in snapshot.endpoints:
            name = endpoint.row.id
            host = {one.target_network: one.text for one in host_problems if one.endpoint in {name, None}}
            outcomes[name] = self._outcome(name, built.get(name, Built(None)), failures, host)
        return outcomes

    # Choosing

    def _build(self, snapshot: Snapshot, config: Config, facts: HostFacts) -> dict[str, Built]:
        running = {endpoint.name: endpoint for endpoint in self._reconciler.managed}
        builder = Builder(snapshot, self._circumstances(config, facts, running))
        accepted = list(config.spec.endpoints)
        found: dict[str, Built] = {}
        known = {one.row.id: built for one in snapshot.endpoints if (built := self._known_to_run(one, builder))}
        for endpoint in sorted(snapshot.endpoints, key=lambda one: 0 if one.row.id in known else _rank(one, builder)):
            name = endpoint.row.id
            built = known.get(name) or build_and_judge(builder, endpoint, accepted, facts, self._fleet.obstacle)
            found[name] = built = self._without_refused(built, builder.running(endpoint))
            if built.spec is not None:
                accepted.append(built.spec)
        self._former = builder.surroundings(), {one.row.id: (one, found[one.row.id]) for one in snapshot.endpoints}
        return found

    def _known_to_run(self, endpoint: ManagedEndpoint, builder: Builder) -> Built | None:
        """What was built the last time, where that runs without a fault and nothing has changed."""
        surroundings, former = self._former
        rows, built = former.get(endpoint.row.id, (None, Built(None)))
        if built.problem or built.failures or built.spec is None or built.spec != builder.running(endpoint):
            return None
        return built if rows == endpoint and surroundings == builder.surroundings() else None

    def _circumstances(self, config: Config, facts: HostFacts, running: Mapping[str, EndpointSpec]) -> Circumstances:
        return Circumstances(
            networks={network.subnet_id: network for network in config.networks},
            defaults=config.settings.endpoint_defaults,
            vault=self._vault,
            addresses={
                interface.name: tuple(one.ip for one in interface.addresses if isinstance(one.ip, IPv4Address))
                for interface in facts.interfaces
            },
            running=running,
            now=datetime.fromtimestamp(self._unix_time(), UTC),
        )

    def _without_refused(self, built: Built, running: EndpointSpec | None) -> Built:
        """Keep an endpoint from settings that it was refused, until it is time to try them again."""
        spec = built.spec
        refused = self._refused.get(spec.name) if spec is not None else None
        if spec is None or running is None or refused is None:
            return built
        if _settings(spec) != refused.settings:
            del self._refused[spec.name]
        elif self._now() < refused.again_at:
            return replace(built, spec=with_former_settings(spec, running), problem=refused.problem)
        return built

    def _remember_refusals(self, built: Mapping[str, Built], failures: Mapping[str, str], former: set[str]) -> None:
        """What was refused may be possible as soon as another endpoint is gone."""
        running = {endpoint.name: endpoint for endpoint in self._reconciler.managed}
        if former - running.keys():
            self._refused.clear()
        for name, problem in failures.items():
            wanted = built[name].spec if name in built else None
            if wanted is not None and name in running and _settings(wanted) != _settings(running[name]):
                before = self._refused.get(name)
                pause_s = min(2 * before.pause_s, AGAIN_MOST_S) if before else AGAIN_S
                again_at = self._now() + pause_s
                self._refused[name] = _Refused(_settings(wanted), _without_name(problem, name), again_at, pause_s)

    # Telling

    def _outcome(
        self, endpoint_id: str, built: Built, failures: Mapping[str, str], host: dict[str | None, str]
    ) -> Outcome:
        running = next((one.spec for one in self._fleet.endpoints if one.spec.name == endpoint_id), None)
        failure = _without_name(failures.get(endpoint_id, self._fleet.down.get(endpoint_id, "")), endpoint_id)
        is_partial = running is not None and built.spec is not None and _settings(running) == _settings(built.spec)
        problem = built.problem or ("" if is_partial else failure)
        if is_partial and failure:
            host.setdefault(None, failure)
        return Outcome(running, problem, built.failures, host)


def _rank(endpoint: ManagedEndpoint, builder: Builder) -> int:
    """First comes what goes on as it is, then what runs and changes, then what is new."""
    running = builder.running(endpoint)
    if running is None:
        return 2
    return 0 if builder.build(endpoint).spec == running else 1


def _settings(spec: EndpointSpec) -> EndpointSpec:
    """What is not about who is let in and who may reach what."""
    return replace(
        spec,
        authentication=replace(
            spec.authentication, client_root_certificate_chain=b"", certificate_revocation_list=None
        ),
        target_networks=(),
        routes=(),
        authorization_rules=(),
    )


def _without_name(sentence: str, endpoint_id: str) -> str:
    """The sentence as it stands with the endpoint itself."""
    return sentence.replace(f"endpoint {endpoint_id}: ", "")
