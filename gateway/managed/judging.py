"""Whether what is built can run: on this host, beside the other endpoints.

What is wrong with a target network or a route takes that out, and the rest runs. What is wrong with the endpoint itself
keeps it from running; one that runs goes on with its settings, and with what is new about who may reach what. So does
one that is to move to a port that another program has, until that is free.
What runs already is not judged anew: an interface that is away for a moment must not take an endpoint down.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.managed.snapshot import find_network
from policy import Route, Severity, validate_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gateway.managed.building import Builder, Built, Object
    from gateway.managed.snapshot import ManagedEndpoint
    from policy import EndpointSpec, HostFacts, Problem, TargetNetwork

    Part = TargetNetwork | Route

__all__ = ["build_and_judge", "with_former_settings"]

_PART = re.compile(r"endpoint\.(target_network|route)\[(\d+)\](\.security_groups)?")


def build_and_judge(
    builder: Builder,
    endpoint: ManagedEndpoint,
    others: Sequence[EndpointSpec],
    facts: HostFacts,
    obstacle: Callable[[EndpointSpec], str],
) -> Built:
    """Build an endpoint without what cannot be; there is a sentence for everything that is not in it.

    `obstacle` says why an endpoint could not listen where it is to.
    """
    running = builder.running(endpoint)
    built = builder.build(endpoint)
    while built.spec is not None and built.spec != running:
        problems = validate_endpoint(built.spec, others, facts)
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        failures = {
            row: text for part, text in _faulty_parts(errors, built.spec, running) for row in _rows(part, endpoint)
        }
        if not failures:
            return _judge_as_a_whole(built, running, errors, obstacle)
        built = builder.build(endpoint, {**built.failures, **failures})
    return built


def with_former_settings(spec: EndpointSpec, running: EndpointSpec) -> EndpointSpec:
    """What runs, with what is new about who is let in and who may reach what."""
    return replace(
        running,
        authentication=spec.authentication,
        target_networks=spec.target_networks,
        routes=spec.routes,
        authorization_rules=spec.authorization_rules,
    )


def _judge_as_a_whole(
    built: Built, running: EndpointSpec | None, errors: Sequence[Problem], obstacle: Callable[[EndpointSpec], str]
) -> Built:
    if built.spec is None:
        return built
    own = [problem.text for problem in errors if not _PART.match(problem.key_path)]
    if running and not own:  # to be put up and fail would cost its clients their sessions
        own = list(filter(None, [obstacle(built.spec)]))
    if not own:
        return built
    problem = " ".join(filter(None, (built.problem, *own)))
    return replace(built, spec=with_former_settings(built.spec, running) if running else None, problem=problem)


def _faulty_parts(
    errors: Sequence[Problem], spec: EndpointSpec, running: EndpointSpec | None
) -> Iterator[tuple[Part, str]]:
    """The networks and routes that cannot be; what runs already can."""
    for problem in errors:
        found = _PART.match(problem.key_path)
        if found:
            parts: tuple[Part, ...] = spec.target_networks if found[1] == "target_network" else spec.routes
            part = parts[int(found[2])]
            if found[3] or running is None or not _runs_already(part, spec, running):
                yield part, problem.text


def _runs_already(part: Part, spec: EndpointSpec, running: EndpointSpec) -> bool:
    """Whether a part is as it was; a route is, where its target network is, too. Groups are judged by themselves."""
    if not isinstance(part, Route):
        return _without_groups(part) in map(_without_groups, running.target_networks)
    targets = [target for target in spec.target_networks if target.name == part.target]
    return part in running.routes and all(_runs_already(target, spec, running) for target in targets)


def _without_groups(target: TargetNetwork) -> TargetNetwork:
    return replace(target, security_groups=None)


def _rows(part: Part, endpoint: ManagedEndpoint) -> Iterator[Object]:
    """What in the store asks for a part."""
    if isinstance(part, Route):
        for route in endpoint.routes:
            if (find_network(route.destination_cidr), route.subnet_id) == (part.destination, part.target):
                yield route
    else:
        yield from (association for association in endpoint.associations if association.subnet_id == part.name)
