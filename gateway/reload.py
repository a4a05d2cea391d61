"""From what is declared to running endpoints, at start and whenever it changes.

    configuration file ──▶ endpoints of the file ──┐
                                                   ├──▶ compare with what runs ──▶ apply the difference
    store ──▶ endpoints made at run time ──────────┘

Either may change, one at a time, and leaves what comes from the other alone. A configuration is read, validated against
the host and turned into terms before anything is touched; what does not pass changes nothing. Endpoints made at run
time are chosen one by one by whoever knows the store, and only what can be applied is chosen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
import trio

from gateway.config import ConfigError, judge_networks, judge_spec, load_config
from gateway.config.problems import Problem
from gateway.endpoint_settings import Terms
from gateway.fleet import FleetError
from gateway.hostnet import HostNetworkError
from policy import GatewaySpec, Severity, compare, validate_endpoint
from tunnel import CloseReason, LocalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from gateway.config import Config, GatewaySettings, LogGroupSettings
    from gateway.fleet import Fleet, HostHold
    from policy import EndpointChange, EndpointSpec, GatewayChange, HostFacts

    Choose = Callable[[Config, HostFacts], Sequence[EndpointSpec]]
    """Says which endpoints run beside those of a file, on this host as it is."""

__all__ = ["ConfigRefused", "Reconciler", "prepare"]

logger = structlog.get_logger("gateway")


class ConfigRefused(Exception):  # noqa: N818 - the file is at fault
    """A configuration does not pass; one sentence for each problem."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


async def prepare(config: Config, host: HostHold, beside: Sequence[EndpointSpec] = ()) -> dict[str, Terms]:
    """Validate a configuration on this host, and give the terms of each endpoint. Raises `ConfigRefused`.

    `beside` are endpoints that run already and are not the configuration's.
    """
    try:
        facts = await host.facts()
    except HostNetworkError as error:
        raise ConfigRefused((str(error),)) from error
    errors = _refuse_or_warn(_problems(config, facts, beside))
    terms: dict[str, Terms] = {}
    for endpoint in config.spec.endpoints:
        try:
            terms[endpoint.name] = Terms.of(endpoint)
        except LocalError as error:
            errors += (f"endpoint {endpoint.name}: {error}",)
    if errors:
        raise ConfigRefused(errors)
    return terms


def _problems(config: Config, facts: HostFacts, beside: Sequence[EndpointSpec]) -> Iterator[Problem]:
    yield from judge_spec(config.spec, facts)
    yield from judge_networks(config, facts)
    for index, endpoint in enumerate(config.spec.endpoints if beside else ()):
        alone = validate_endpoint(endpoint, ())
        for found in validate_endpoint(endpoint, beside):
            if found not in alone:
                path = found.key_path.replace("endpoint", f"endpoint[{index}]", 1)
                yield Problem(path, found.text, f'endpoint "{endpoint.name}"', found.severity)


def _refuse_or_warn(problems: Iterable[Problem]) -> tuple[str, ...]:
    """The errors, after the warnings were logged. Raises `ConfigRefused` where there are errors."""
    errors: list[str] = []
    for problem in problems:
        if problem.severity is Severity.WARNING:
            logger.warning("configuration warning", key=problem.key_path, where=problem.where, problem=problem.text)
        else:
            errors.append(str(problem))
    if errors:
        raise ConfigRefused(tuple(errors))
    return ()


class Reconciler:
    """Brings a fleet from what runs to what the configuration file and the store say."""

    def __init__(
        self,
        path: Path,
        config: Config,
        fleet: Fleet,
        host: HostHold,
        adopt_settings: Callable[[GatewaySettings], None] = lambda _: None,
    ) -> None:
        """`config` is the one that the daemon was started with; `adopt_settings` is given those of each later one."""
        self._path = path
        self._config = config
        self._settings = config.settings
        self._fleet = fleet
        self._host = host
        self._adopt_settings = adopt_settings

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    @property
    def managed(self) -> tuple[EndpointSpec, ...]:
        """The endpoints that run, or ought to, and are not of the file."""
        declared = {endpoint.name for endpoint in self._config.spec.endpoints}
        return tuple(endpoint for endpoint in self._fleet.spec.endpoints if endpoint.name not in declared)

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
            managed = self.managed
            terms = await prepare(config, self._host, managed)
            change = compare(self._fleet.spec, GatewaySpec((*config.spec.endpoints, *managed)))
            was_down = frozenset(self._fleet.down)
            former, self._config = self._config, config
            self._adopt_settings(config.settings)
            failures = await self._apply(change, terms)
            if failures:
                raise FleetError("\n".join(failures.values()))
            revived = [endpoint.spec.name for endpoint in self._fleet.endpoints if endpoint.spec.name in was_down]
            groups = tuple(_describe_log_groups(former.settings.log_groups, config.settings.log_groups))
            said = () if groups and change.is_empty and not revived else _describe(change, revived)
            return (*said, *groups, *self._describe_settings(config.settings))

    async def reconcile_managed(self, choose: Choose) -> dict[str, str]:
        """Apply what is chosen beside the file's endpoints; gives a sentence for each for which that failed.

        `choose` is asked when nothing else changes any more, and has to be quick. Raises `HostNetworkError` where the
        host cannot be looked at: then nothing has changed.
        """
        async with self._fleet.changing:
            if self._fleet.is_closed:
                return {}
            before = {endpoint.name: endpoint for endpoint in self.managed}
            declared = tuple(one for one in self._fleet.spec.endpoints if one.name not in before)
            chosen = {endpoint.name: endpoint for endpoint in choose(self._config, await self._host.facts())}
            terms, failures = _terms_of_new(chosen, before)
            usable = {name: endpoint for name, endpoint in chosen.items() if name not in failures}
            kept = {name: endpoint for name, endpoint in before.items() if name in failures}
            change = compare(self._fleet.spec, GatewaySpec((*declared, *kept.values(), *usable.values())))
            return failures | await self._apply(change, terms)

    async def _apply(self, change: GatewayChange, terms: Mapping[str, Terms]) -> dict[str, str]:
        """Take down before putting up: a new endpoint may want an old one's port or range. Gives what failed."""
        failures: dict[str, str] = {}
        restarted = [changed for changed in change.changed if changed.needs_restart]
        for endpoint in change.removed:
            await self._fleet.stop(endpoint.name, CloseReason.SHUTDOWN)
        for changed in restarted:
            await self._fleet.stop(changed.old.name, CloseReason.RECONFIGURED)
        for changed in change.changed:
            if changed not in restarted:
                name = changed.new.name
                await _note_failure(failures, name, self._fleet.adopt(changed, terms[name]))
        for name in self._fleet.down:
            await _note_failure(failures, name, self._fleet.try_again(name))
        for changed in restarted:
            await self._start_or_go_back(changed, terms[changed.new.name], failures)
        for endpoint in change.added:
            await _note_failure(failures, endpoint.name, self._fleet.put_up(terms[endpoint.name]))
        return failures

    async def _start_or_go_back(self, changed: EndpointChange, terms: Terms, failures: dict[str, str]) -> None:
        """Put up an endpoint with its new sockets; with the old ones where that fails; at last with the new ones."""
        name = changed.new.name
        if not await _note_failure(failures, name, self._fleet.start([terms])):
            return
        problem = failures[name]
        if await _note_failure(failures, name, self._fleet.start([Terms.of(changed.old)])):
            self._fleet.keep_trying(terms, problem)

    def _describe_settings(self, settings: GatewaySettings) -> tuple[str, ...]:
        before = self._settings
        service = replace(
            settings.api.service,
            endpoint_defaults=before.api.service.endpoint_defaults,
            log_groups=before.api.service.log_groups,
        )
        lasting = replace(
            settings,
            endpoint_defaults=before.endpoint_defaults,
            log_groups=before.log_groups,
            api=replace(settings.api, service=service),
        )
        if lasting == before:
            return ()
        return ("The changes of [gateway], [store] and [api] take effect when the daemon is started again.",)


async def _note_failure(failures: dict[str, str], name: str, work: Awaitable[None]) -> bool:
    """Add the sentence of a failure, if there was one, and say so: the rest of a change goes on."""
    try:
        await work
    except FleetError as error:
        failures[name] = "\n".join(filter(None, (failures.get(name), str(error))))
        return True
    return False


def _terms_of_new(
    chosen: Mapping[str, EndpointSpec], before: Mapping[str, EndpointSpec]
) -> tuple[dict[str, Terms], dict[str, str]]:
    """The terms of what is not running as it is, and what is wrong where there are none."""
    terms: dict[str, Terms] = {}
    failures: dict[str, str] = {}
    for name, endpoint in chosen.items():
        if before.get(name) != endpoint:
            try:
                terms[name] = Terms.of(endpoint)
            except LocalError as error:
                failures[name] = f"endpoint {name}: {error}"
    return terms, failures


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


def _describe_log_groups(
    before: Mapping[str, LogGroupSettings], after: Mapping[str, LogGroupSettings]
) -> Iterator[str]:
    for name in before:
        if name not in after:
            yield f"Log group {name} was removed."
    for name, group in after.items():
        if name not in before:
            yield f"Log group {name} was added."
        elif before[name] != group:
            yield f"Log group {name} was changed."
