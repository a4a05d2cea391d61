"""From the configuration file to running endpoints, at start and whenever it changes.

A configuration is read, validated against the host and turned into terms before anything is touched; what does not
pass changes nothing. What does is compared with what runs, and only the difference is applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from gateway.config import ConfigError, judge_spec, load_config
from gateway.endpoint_settings import Terms
from gateway.fleet import FleetError
from gateway.hostnet import HostNetworkError
from policy import Severity, compare
from tunnel import CloseReason, LocalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence
    from pathlib import Path

    from gateway.config import Config, GatewaySettings
    from gateway.fleet import Fleet, HostHold
    from policy import EndpointChange, GatewayChange, GatewaySpec

__all__ = ["ConfigRefused", "Reconciler", "prepare"]

logger = structlog.get_logger("gateway")


class ConfigRefused(Exception):  # noqa: N818 - the file is at fault
    """A configuration does not pass; one sentence for each problem."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


async def prepare(spec: GatewaySpec, host: HostHold) -> dict[str, Terms]:
    """Validate a spec on this host, and give the terms of each endpoint. Raises `ConfigRefused`."""
    try:
        facts = await host.facts()
    except HostNetworkError as error:
        raise ConfigRefused((str(error),)) from error
    problems = judge_spec(spec, facts)
    for problem in problems:
        if problem.severity is Severity.WARNING:
            logger.warning("configuration warning", key=problem.key_path, where=problem.where, problem=problem.text)
    errors = tuple(str(problem) for problem in problems if problem.severity is Severity.ERROR)
    if errors:
        raise ConfigRefused(errors)
    terms: dict[str, Terms] = {}
    for endpoint in spec.endpoints:
        try:
            terms[endpoint.name] = Terms.of(endpoint)
        except LocalError as error:
            errors += (f"endpoint {endpoint.name}: {error}",)
    if errors:
        raise ConfigRefused(errors)
    return terms


class Reconciler:
    """Brings a fleet from what runs to what the configuration file says."""

    def __init__(self, path: Path, config: Config, fleet: Fleet, host: HostHold) -> None:
        """`config` is the one that the daemon was started with."""
        self._path = path
        self._settings = config.settings
        self._fleet = fleet
        self._host = host

    async def reload(self) -> tuple[str, ...]:
        """Read the file and apply it; say in sentences what has changed.

        Raises `ConfigRefused` where it does not pass: then nothing has changed. Raises `FleetError` where it passed,
        and part of it could not be put up.
        """
        async with self._fleet.changing:
            if self._fleet.is_closed:
                raise ConfigRefused(("The gateway stops; it takes no configuration any more.",))
            try:
                config = await trio.to_thread.run_sync(load_config, self._path)
            except ConfigError as error:
                raise ConfigRefused(tuple(str(problem) for problem in error.problems)) from error
            terms = await prepare(config.spec, self._host)
            change = compare(self._fleet.spec, config.spec)
            was_down = frozenset(self._fleet.down)
            failures = await self._apply(change, terms)
            if failures:
                raise FleetError("\n".join(failures))
            revived = [endpoint.spec.name for endpoint in self._fleet.endpoints if endpoint.spec.name in was_down]
            return (*_describe(change, revived), *self._describe_settings(config.settings))

    async def _apply(self, change: GatewayChange, terms: dict[str, Terms]) -> list[str]:
        """Take down before putting up: a new endpoint may want an old one's port or range."""
        failures: list[str] = []
        restarted = [changed for changed in change.changed if changed.needs_restart]
        for endpoint in change.removed:
            await self._fleet.stop(endpoint.name, CloseReason.SHUTDOWN)
        for changed in restarted:
            await self._fleet.stop(changed.old.name, CloseReason.RECONFIGURED)
        for changed in change.changed:
            if changed not in restarted:
                failures += await _failures(self._fleet.adopt(changed, terms[changed.new.name]))
        for name in self._fleet.down:
            failures += await _failures(self._fleet.try_again(name))
        for changed in restarted:
            failures += await self._start_or_go_back(changed, terms[changed.new.name])
        for endpoint in change.added:
            failures += await _failures(self._fleet.put_up(terms[endpoint.name]))
        return failures

    async def _start_or_go_back(self, changed: EndpointChange, terms: Terms) -> list[str]:
        """Put up an endpoint with its new sockets; with the old ones where that fails; at last with the new ones."""
        failures = await _failures(self._fleet.start([terms]))
        if failures:
            failures += await _failures(self._fleet.start([Terms.of(changed.old)]))
        if len(failures) > 1:
            self._fleet.keep_trying(terms, failures[0])
        return failures

    def _describe_settings(self, settings: GatewaySettings) -> tuple[str, ...]:
        if settings == self._settings:
            return ()
        return ("The changes of [gateway] take effect when the daemon is started again.",)


async def _failures(work: Awaitable[None]) -> list[str]:
    """The sentence of a failure, if there was one: the rest of a change goes on."""
    try:
        await work
    except FleetError as error:
        return [str(error)]
    return []


def _describe(change: GatewayChange, revived: Sequence[str]) -> Iterator[str]:
    """What a reload did, in sentences; `revived` are endpoints that were down before."""
    if change.is_empty and not revived:
        yield "Nothing has changed."
    for endpoint in change.removed:
        yield f"Endpoint {endpoint.name} was removed."
    for changed in change.changed:
        fields = ", ".join(sorted(changed.fields)) or "descriptions"
        how = "restarted with" if changed.needs_restart else "changed in place:"
        ending = " Its clients reconnect." if changed.needs_restart or changed.pushed_changed else ""
        yield f"Endpoint {changed.new.name} was {how} {fields}.{ending}"
    for endpoint in change.added:
        yield f"Endpoint {endpoint.name} was added."
    for name in revived:
        yield f"Endpoint {name} was down, and runs again."
