"""What is written back: how it went with each object that the store asks for.

    rows as they were read + what really runs ──▶ changes ──▶ one transaction

A change is for the row as it was read: where somebody has changed it since, nothing is written, and the next round sees
what is asked for then. So whatever order things happen in, and wherever one is interrupted, statuses come to be true.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, update

from gateway.managed.accounting import account_associations
from gateway.managed.building import ENDING
from gateway.managed.snapshot import find_network
from gateway.store import schema
from policy import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from ipaddress import IPv4Network

    from sqlalchemy import Column, ColumnElement, Connection, Delete, Table, Update

    from gateway.managed.building import Object
    from gateway.managed.snapshot import AssociationRow, CrlRow, ManagedEndpoint, RouteRow, RuleRow
    from gateway.store import Store
    from policy import EndpointSpec

__all__ = ["Change", "Outcome", "status_changes", "write_changes"]


_NOT_YET = "It is not in force yet; it is tried again."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one endpoint."""

    running: EndpointSpec | None
    """What runs."""
    problem: str = ""
    """What is wrong with the endpoint as a whole."""
    failures: Mapping[Object, str] = field(default_factory=dict)
    """What is wrong with single objects."""
    host: Mapping[str | None, str] = field(default_factory=dict)
    """What the host refuses, by target network; None for the endpoint as a whole."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row's change, and what follows from it where it takes place."""

    table: Table
    row: Mapping[str, Any]
    """The columns by which the row is what it was when it was read."""
    values: Mapping[str, Any] | None
    """None deletes it."""
    consequences: tuple[Change, ...] = ()


def status_changes(
    endpoint: ManagedEndpoint, outcome: Outcome, now: float, elsewhere: frozenset[str] = frozenset()
) -> tuple[Change, ...]:
    """What has to be written about an endpoint; nothing where everything stands there already.

    Networks that are `elsewhere` count as in order: other gateways serve them.
    """
    if endpoint.row.status_code == "deleting":
        return () if outcome.running else (_end(endpoint, now),)
    return tuple(_Judge(endpoint, outcome, now, elsewhere).changes())


def write_changes(store: Store, changes: Sequence[Change], now: float) -> None:
    """Write them, in one transaction. Blocks. Raises `StoreError`."""
    with store.write(affects_gateways=False) as connection:
        _write(connection, changes)
        if any(change.table in {schema.association, schema.endpoint} for change in changes):
            account_associations(connection, now)


def _write(connection: Connection, changes: Sequence[Change]) -> None:
    """Write changes, many of a kind at once; only what has consequences is looked at by itself."""
    alike: defaultdict[object, list[Change]] = defaultdict(list)
    for change in changes:
        if not change.consequences:
            alike[change.table, tuple(change.row), tuple(change.values or ())].append(change)
        elif connection.execute(_statement(change), _parameters(change)).rowcount:
            _write(connection, change.consequences)
    for several in alike.values():
        connection.execute(_statement(several[0]), [_parameters(change) for change in several])


def _statement(change: Change) -> Update | Delete:
    """What all changes of these columns have in common."""
    where = [_is(change.table.c[name], f"was_{name}", value) for name, value in change.row.items()]
    if change.values is None:
        return delete(change.table).where(*where)
    return update(change.table).where(*where).values({name: bindparam(f"now_{name}") for name in change.values})


def _is(column: Column[Any], name: str, value: object) -> ColumnElement[bool]:
    return column.is_(None) if value is None else column == bindparam(name)


def _parameters(change: Change) -> dict[str, Any]:
    was = {f"was_{name}": value for name, value in change.row.items() if value is not None}
    return was | {f"now_{name}": value for name, value in (change.values or {}).items()}


def _end(endpoint: ManagedEndpoint, now: float) -> Change:
    """An endpoint is gone, with everything that was its own."""
    its = {"endpoint_id": endpoint.row.id}
    gone = tuple(Change(table, its, None) for table in (schema.route, schema.authorization_rule, schema.crl))
    associations = tuple(
        _end_association({"id": association.id, "ended_at": None}, now) for association in endpoint.associations
    )
    row = {"id": endpoint.row.id, "status_code": "deleting"}
    return Change(schema.endpoint, row, _ended("deleted", now), (*associations, *gone))


def _end_association(row: Mapping[str, Any], now: float) -> Change:
    """An association is gone, with its routes, and with its hold on security groups."""
    its = {"association_id": row["id"]}
    gone = tuple(Change(table, its, None) for table in (schema.route, schema.association_security_group))
    return Change(schema.association, row, _ended("disassociated", now), gone)


def _ended(code: str, now: float) -> dict[str, Any]:
    return {"status_code": code, "status_message": "", "ended_at": now}


class _Judge:
    """Compares what stands in the rows of an endpoint with what runs."""

    def __init__(self, endpoint: ManagedEndpoint, outcome: Outcome, now: float, elsewhere: frozenset[str]) -> None:
        self._endpoint = endpoint
        self._outcome = outcome
        self._now = now
        self._elsewhere = elsewhere
        running = outcome.running
        self._targets = {target.name for target in running.target_networks} if running else set()
        self._routes = {(route.destination, route.target) for route in running.routes} if running else set()
        self._rules = {(rule.destination, rule.group) for rule in running.authorization_rules} if running else set()
        self._is_idle = running is None and not outcome.problem
        """Nothing is to run: what needs no network is in order as it stands."""

    def changes(self) -> Iterator[Change]:
        for association in self._endpoint.associations:
            yield from self._association(association)
        for route in self._endpoint.routes:
            yield from self._route(route)
        for rule in self._endpoint.rules:
            yield from self._rule(rule)
        if self._endpoint.crl:
            yield from self._crl(self._endpoint.crl)
        yield from self._whole()

    def _whole(self) -> Iterator[Change]:
        row = self._endpoint.row
        is_available = any(
            association.status_code not in ENDING and not self._association_problem(association)
            for association in self._endpoint.associations
        )
        status = ("available" if is_available else "pending-associate", self._outcome.problem)
        if status != (row.status_code, row.status_message):
            yield Change(schema.endpoint, {"id": row.id, "status_code": row.status_code}, _status(*status))

    def _association(self, association: AssociationRow) -> Iterator[Change]:
        row = {"id": association.id, "status_code": association.status_code, "ended_at": None}
        if association.status_code not in ENDING:
            problem = self._association_problem(association)
            status = ("association-failed" if problem else "associated", problem)
            if status != (association.status_code, association.status_message):
                yield Change(schema.association, row, _status(*status))
        elif association.subnet_id not in self._targets:
            yield _end_association(row, self._now)

    def _association_problem(self, association: AssociationRow) -> str:
        if association.subnet_id not in self._targets:
            return "" if self._is_elsewhere(association) else self._why_not(association)
        host = self._outcome.host
        return host.get(association.subnet_id) or host.get(None, "")

    def _route(self, route: RouteRow) -> Iterator[Change]:
        key = ("endpoint_id", "destination_cidr", "subnet_id")
        destination = find_network(route.destination_cidr)
        is_there = (destination, route.subnet_id) in self._routes
        if route.status_code in ENDING:
            yield from _gone(schema.route, route, key, is_there=is_there)
        elif destination is not None and (
            is_there or self._needs_nothing(route) or self._is_second(route, destination)
        ):
            yield from self._settled(schema.route, route, key, self._outcome.host.get(route.subnet_id, ""))
        else:
            yield from self._settled(schema.route, route, key, self._why_not(route))

    def _is_elsewhere(self, part: AssociationRow | RouteRow) -> bool:
        return part.subnet_id in self._elsewhere

    def _needs_nothing(self, route: RouteRow) -> bool:
        return self._is_elsewhere(route) or (self._is_idle and route.subnet_id == LOCAL)

    def _is_second(self, route: RouteRow, destination: IPv4Network) -> bool:
        """Whether an older association has this destination: the route is there for when that one goes."""
        is_taken = any(taken == destination for taken, _ in self._routes)
        return is_taken and route.subnet_id in self._targets and route not in self._outcome.failures

    def _rule(self, rule: RuleRow) -> Iterator[Change]:
        key = ("endpoint_id", "destination_cidr", "group_id")
        is_there = (find_network(rule.destination_cidr), rule.group_id or None) in self._rules
        if rule.status_code in ENDING:
            yield from _gone(schema.authorization_rule, rule, key, is_there=is_there)
        else:
            is_in_order = (is_there or self._is_idle) and rule not in self._outcome.failures
            problem = "" if is_in_order else self._why_not(rule)
            yield from self._settled(schema.authorization_rule, rule, key, problem)

    def _crl(self, crl: CrlRow) -> Iterator[Change]:
        running = self._outcome.running
        is_there = running is not None and running.authentication.certificate_revocation_list == crl.pem.encode()
        problem = "" if is_there or self._is_idle else self._outcome.problem or _NOT_YET
        status = ("pending" if problem else "active", problem)
        if status != (crl.status_code, crl.status_message):
            row = {"endpoint_id": crl.endpoint_id, "status_code": crl.status_code, "imported_at": crl.imported_at}
            yield Change(schema.crl, row, _status(*status))

    def _settled(self, table: Table, row: RouteRow | RuleRow, key: tuple[str, ...], problem: str) -> Iterator[Change]:
        """In order, or failed. Where the endpoint as a whole is at fault, what was in order stays so in the store."""
        if problem and row.status_code == "active" and row not in self._outcome.failures:
            return
        status = ("failed" if problem else "active", problem)
        if status != (row.status_code, row.status_message):
            yield Change(table, _as_read(row, key), _status(*status))

    def _why_not(self, part: Object) -> str:
        return self._outcome.failures.get(part) or self._outcome.problem or self._outcome.host.get(None) or _NOT_YET


def _gone(table: Table, row: RouteRow | RuleRow, key: tuple[str, ...], *, is_there: bool) -> Iterator[Change]:
    if not is_there:
        yield Change(table, _as_read(row, key), None)


def _as_read(row: RouteRow | RuleRow, key: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in (*key, "status_code", "created_at")}


def _status(code: str, message: str) -> dict[str, str]:
    return {"status_code": code, "status_message": message}
