"""What the store asks of the gateway, read at one moment: every endpoint made at run time, with all that is its own.

Records mirror rows, column by column; what they mean is for `building`. Secrets in them are still sealed.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from gateway.store import schema
from gateway.store.statements import rows_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Row, Select, Table

    from gateway.store import Store

__all__ = [
    "AssociationRow",
    "CertificateRow",
    "CrlRow",
    "EndpointRow",
    "GroupRow",
    "GroupRuleRow",
    "ManagedEndpoint",
    "RouteRow",
    "RuleRow",
    "Snapshot",
    "certificate_arns",
    "find_network",
    "parse_network",
    "read_snapshot",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """A row of `endpoint`."""

    id: str
    status_code: str
    status_message: str
    created_at: float
    description: str
    client_cidr_block: str
    server_certificate_arn: str
    authentication_options: tuple[dict[str, Any], ...]
    transport_protocols: tuple[str, ...]
    vpn_port: int
    dns_servers: tuple[str, ...]
    split_tunnel: bool
    session_timeout_hours: float
    disconnect_on_session_timeout: bool
    connection_log_options: dict[str, Any]
    client_login_banner_options: dict[str, Any]
    client_route_enforcement_options: dict[str, Any]
    settings: dict[str, Any]
    control_channel_keys: bytes | None = field(repr=False)
    """Sealed JSON of base64, by the keys of `[endpoint.control_channel]`."""


@dataclass(frozen=True, slots=True)
class AssociationRow:
    """A row of `association` that has not ended."""

    id: str
    endpoint_id: str
    subnet_id: str
    status_code: str
    status_message: str
    created_at: float


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A row of `route`."""

    endpoint_id: str
    destination_cidr: str
    subnet_id: str
    association_id: str | None
    description: str
    status_code: str
    status_message: str
    created_at: float


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A row of `authorization_rule`."""

    endpoint_id: str
    destination_cidr: str
    group_id: str
    description: str
    status_code: str
    status_message: str
    created_at: float


@dataclass(frozen=True, slots=True)
class CrlRow:
    """A row of `crl`."""

    endpoint_id: str
    pem: str
    status_code: str
    status_message: str
    imported_at: float


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A row of `certificate`."""

    arn: str
    chain: str
    private_key: bytes | None = field(repr=False)
    """Sealed."""


@dataclass(frozen=True, slots=True)
class GroupRuleRow:
    """A row of `security_group_rule`."""

    id: str
    group_id: str
    is_egress: bool
    protocol: str
    from_port: int
    to_port: int
    cidr: str
    referenced_group_id: str
    description: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A row of `security_group`, with its rules."""

    id: str
    name: str
    rules: tuple[GroupRuleRow, ...]


@dataclass(frozen=True, slots=True)
class ManagedEndpoint:
    """An endpoint that was made at run time, with what is its own; the oldest association comes first."""

    row: EndpointRow
    associations: tuple[AssociationRow, ...] = ()
    routes: tuple[RouteRow, ...] = ()
    rules: tuple[RuleRow, ...] = ()
    crl: CrlRow | None = None
    security_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The groups of each association that has some, by their ids."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment."""

    counter: int = 0
    """The store's, for what is in here."""
    endpoints: tuple[ManagedEndpoint, ...] = ()
    """The oldest first."""
    certificates: dict[str, CertificateRow] = field(default_factory=dict)
    """Those that endpoints name, by ARN."""
    groups: dict[str, GroupRow] = field(default_factory=dict)
    """All security groups, by id."""
    elsewhere: frozenset[str] = frozenset()
    """The subnets that other gateways offer: where this one has no such network, they are theirs to serve."""


@functools.lru_cache(maxsize=65_536)
def parse_network(cidr: str) -> IPv4Network:
    """A network as rows have it; the same ones are looked at again and again."""
    return IPv4Network(cidr)


def find_network(cidr: str) -> IPv4Network | None:
    """The same; None for what is no network, as a row may be that another hand has written."""
    try:
        return parse_network(cidr)
    except ValueError:
        return None


def read_snapshot(store: Store, node: str) -> Snapshot:
    """Read what it asks of this gateway, in one transaction. Blocks. Raises `StoreError`."""
    with store.read() as connection:
        rows = _endpoint_rows(connection)
        return Snapshot(
            counter=int(connection.execute(select(schema.change.c.counter)).scalar_one()),
            endpoints=tuple(_with_its_own(connection, rows)),
            certificates=_certificates(connection, rows),
            groups=_groups(connection),
            elsewhere=_elsewhere(connection, node),
        )


def certificate_arns(row: EndpointRow) -> set[str]:
    """The certificates that an endpoint names: its own, and its clients' authorities, if it names some."""
    try:
        mutual = [option.get("MutualAuthentication") or {} for option in row.authentication_options]
        roots = {str(options.get("ClientRootCertificateChainArn", "")) for options in mutual}
    except (AttributeError, TypeError):  # no options: building it says so, and of this endpoint only
        roots = set()
    return {row.server_certificate_arn, *roots} - {""}


_OURS = (schema.endpoint.c.origin == "api") & schema.endpoint.c.ended_at.is_(None)
"""The endpoints that are made at run time, and are there."""


def _endpoint_rows(connection: Connection) -> tuple[EndpointRow, ...]:
    table = schema.endpoint.c
    return _records(
        EndpointRow, connection.execute(select(schema.endpoint).where(_OURS).order_by(table.created_at, table.id))
    )


def _with_its_own(connection: Connection, rows: tuple[EndpointRow, ...]) -> Iterable[ManagedEndpoint]:
    def own(kind: type[T], query: Select[Any]) -> tuple[T, ...]:
        return _records(kind, connection.execute(query))

    alive = _of_ours(schema.association, "created_at", "id").where(schema.association.c.ended_at.is_(None))
    associations = _by_endpoint(own(AssociationRow, alive))
    routes = _by_endpoint(own(RouteRow, _of_ours(schema.route, "endpoint_id", "destination_cidr", "subnet_id")))
    rules = _by_endpoint(
        own(RuleRow, _of_ours(schema.authorization_rule, "endpoint_id", "destination_cidr", "group_id"))
    )
    crls = {crl.endpoint_id: crl for crl in own(CrlRow, _of_ours(schema.crl))}
    groups = _association_groups(connection)
    for row in rows:
        own_groups = {one.id: groups[one.id] for one in associations[row.id] if one.id in groups}
        yield ManagedEndpoint(row, associations[row.id], routes[row.id], rules[row.id], crls.get(row.id), own_groups)


def _of_ours(table: Table, *order: str) -> Select[Any]:
    """The rows of our endpoints, in an order that does not depend on the database."""
    joined = select(table).join(schema.endpoint, table.c.endpoint_id == schema.endpoint.c.id)
    return joined.where(_OURS).order_by(*(table.c[name] for name in order))


def _certificates(connection: Connection, rows: tuple[EndpointRow, ...]) -> dict[str, CertificateRow]:
    arns = set[str]().union(*(certificate_arns(row) for row in rows))
    found = rows_among(connection, select(schema.certificate), schema.certificate.c.arn, arns)
    return {row.arn: row for row in _records(CertificateRow, found)}


def _association_groups(connection: Connection) -> Mapping[str, tuple[str, ...]]:
    table = schema.association_security_group
    found: dict[str, tuple[str, ...]] = {}
    for row in connection.execute(select(table).order_by(table.c.position)):
        found[row.association_id] = (*found.get(row.association_id, ()), row.group_id)
    return found


def _groups(connection: Connection) -> dict[str, GroupRow]:
    rules: defaultdict[str, list[GroupRuleRow]] = defaultdict(list)
    table = schema.security_group_rule
    for rule in _records(GroupRuleRow, connection.execute(select(table).order_by(table.c.id))):
        rules[rule.group_id].append(rule)
    groups = connection.execute(select(schema.security_group).order_by(schema.security_group.c.id))
    return {group.id: GroupRow(group.id, group.name, tuple(rules[group.id])) for group in groups}


def _elsewhere(connection: Connection, node: str) -> frozenset[str]:
    table = schema.network.c
    return frozenset(connection.scalars(select(table.subnet_id).where(table.node != node)))


def _by_endpoint(records: Iterable[Any]) -> Mapping[str, tuple[Any, ...]]:
    found: defaultdict[str, tuple[Any, ...]] = defaultdict(tuple)
    for record in records:
        found[record.endpoint_id] += (record,)
    return found


def _records(kind: type[T], rows: Iterable[Row[Any]]) -> tuple[T, ...]:
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # they are dataclasses
    return tuple(kind(**{name: _value(row, name) for name in names}) for row in rows)


def _value(row: Row[Any], name: str) -> Any:
    value = getattr(row, name)
    return tuple(value) if isinstance(value, list) else value
