"""What this gateway's own files declare, written to the store, so that callers see it: read-only, and as it really is.

    node, networks, certificates ──┐
                                   ├──▶ rows of origin 'file', replaced in one transaction
    endpoints with what runs ──────┘

Ids of endpoints and networks follow from names, and associations keep theirs for as long as they last, so that what was
logged and accounted stays their own after every start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gateway.actions.certificate_store import publish_certificate
from gateway.actions.control_channel_keys import TLS_CRYPT, seal_control_channel_keys
from gateway.actions.objects import new_id
from gateway.managed.accounting import account_associations
from gateway.managed.declared_rows import DeclaredEndpoint, endpoint_rows, network_rows
from gateway.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Table

    from gateway.actions import ServiceSettings
    from gateway.config import Network
    from gateway.store import Store, Vault

__all__ = ["Declaration", "PublishedCertificate", "note_seen", "publish"]

logger = structlog.get_logger("store")


@dataclass(frozen=True, slots=True)
class PublishedCertificate:
    """A certificate that callers may use, in PEM."""

    chain: bytes
    private_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Declaration:
    """Everything that this gateway's files declare."""

    node: str
    file: Path
    started_at: float
    service: ServiceSettings
    networks: tuple[Network, ...]
    endpoints: tuple[DeclaredEndpoint, ...]
    certificates: tuple[PublishedCertificate, ...]

    @property
    def place(self) -> str:
        """Where it is declared, among all gateways' files."""
        return f"{self.file} on {self.node}"


def publish(store: Store, declaration: Declaration, now: float) -> None:
    """Replace what the store has of this gateway's files. Blocks. Raises `StoreError`."""
    with store.write(affects_gateways=False) as connection:
        _put(connection, schema.gateway_node, _node_row(declaration, now), ("name",))
        arns = _publish_certificates(connection, store, declaration, now)
        _replace_networks(connection, declaration)
        _replace_endpoints(connection, store.vault, declaration, arns, now)
        account_associations(connection, now)


def note_seen(store: Store, declaration: Declaration, now: float) -> bool:
    """Say that this gateway is there. Blocks. Raises `StoreError`.

    Returns whether all that it has published is, too: another gateway that had some of it as well may have gone back
    on that.
    """
    table = schema.gateway_node
    with store.write(affects_gateways=False) as connection:
        connection.execute(update(table).where(table.c.name == declaration.node).values(seen_at=now))
        return _is_published(connection, declaration)


def _is_published(connection: Connection, declaration: Declaration) -> bool:
    networks, endpoints = schema.network.c, schema.endpoint.c
    subnets = {row["subnet_id"] for row in network_rows(declaration.node, declaration.networks, declaration.endpoints)}
    there = {*connection.scalars(select(networks.subnet_id).where(networks.subnet_id.in_(subnets)))}
    return there == subnets and not any(
        connection.scalar(select(endpoints.ended_at).where(endpoints.id == endpoint.id))
        for endpoint in declaration.endpoints
    )


def _node_row(declaration: Declaration, now: float) -> dict[str, Any]:
    return {
        "name": declaration.node,
        "started_at": declaration.started_at,
        "seen_at": now,
        "configuration_file": str(declaration.file),
    }


def _publish_certificates(
    connection: Connection, store: Store, declaration: Declaration, now: float
) -> Mapping[bytes, str]:
    """The ARN of each chain that endpoints of the file use; the authority's own certificates come with its name."""
    used = [
        certificate
        for endpoint in declaration.endpoints
        for certificate in (
            PublishedCertificate(
                endpoint.spec.server_certificate.certificate_chain, endpoint.spec.server_certificate.private_key
            ),
            PublishedCertificate(endpoint.spec.authentication.client_root_certificate_chain),
        )
    ]
    arns: dict[bytes, str] = {}
    for certificate in (*used, *declaration.certificates):
        whole = _with_issuers(certificate, declaration.certificates)
        arns[certificate.chain] = publish_certificate(
            connection,
            store.vault,
            declaration.service,
            chain=whole.chain,
            private_key=whole.private_key,
            now=now,
        )
    return arns


def _with_issuers(certificate: PublishedCertificate, known: Iterable[PublishedCertificate]) -> PublishedCertificate:
    """The same certificate of a server with the issuers behind it, where they are known: it is offered once."""
    if certificate.private_key is None:
        return certificate
    return next((one for one in known if one.private_key and one.chain.startswith(certificate.chain)), certificate)


def _replace_networks(connection: Connection, declaration: Declaration) -> None:
    table = schema.network
    rows = list(network_rows(declaration.node, declaration.networks, declaration.endpoints))
    mine = or_(table.c.node == declaration.node, table.c.subnet_id.in_([row["subnet_id"] for row in rows]))
    connection.execute(delete(table).where(mine))
    _insert(connection, table, rows)


def _replace_endpoints(
    connection: Connection, vault: Vault, declaration: Declaration, arns: Mapping[bytes, str], now: float
) -> None:
    table = schema.endpoint
    ids = [endpoint.id for endpoint in declaration.endpoints]
    mine = (table.c.origin == "file") & or_(table.c.declared_in == declaration.place, table.c.id.in_(ids))
    for gone in connection.scalars(select(table.c.id).where(mine, table.c.id.not_in(ids), table.c.ended_at.is_(None))):
        _end(connection, gone, now)
    # names and ranges may have been swapped: make room for all of them first
    connection.execute(update(table).where(mine).values(name=None, client_cidr_block=table.c.id))
    for endpoint in declaration.endpoints:
        try:
            with connection.begin_nested():
                _write_endpoint(connection, declaration, endpoint, arns, now, keys=_keys(vault, endpoint))
        except IntegrityError as error:
            _end(connection, endpoint.id, now)  # what made room has no range that anybody could read
            logger.warning(
                "an endpoint of the configuration file cannot be shown, since another one has its client range",
                endpoint=endpoint.spec.name,
                error=str(error.orig),
            )


def _end(connection: Connection, endpoint_id: str, now: float) -> None:
    """Show an endpoint no more; where there is none, nothing happens."""
    _remove_what_is_its_own(connection, endpoint_id, now)
    ended = {"status_code": "deleted", "status_message": "", "ended_at": now}
    connection.execute(update(schema.endpoint).where(schema.endpoint.c.id == endpoint_id).values(**ended))


def _write_endpoint(
    connection: Connection,
    declaration: Declaration,
    endpoint: DeclaredEndpoint,
    arns: Mapping[bytes, str],
    now: float,
    *,
    keys: dict[str, bytes],
) -> None:
    rows = endpoint_rows(endpoint, declaration.place, arns, _association_ids(connection, endpoint), now)
    _put(connection, schema.endpoint, rows.endpoint | keys, ("id",), keep=("created_at",))
    kept = [row["id"] for row in rows.associations]
    _remove_what_is_its_own(connection, endpoint.id, now, kept)
    for row in rows.associations:
        _put(connection, schema.association, row, ("id",), keep=("created_at",))
    _insert(connection, schema.route, rows.routes)
    _insert(connection, schema.authorization_rule, rows.rules)
    _insert(connection, schema.crl, rows.crls)


def _keys(vault: Vault, endpoint: DeclaredEndpoint) -> dict[str, bytes]:
    """The column of the keys that all clients of an endpoint share, sealed."""
    key = endpoint.spec.control_channel.tls_crypt_key
    return {"control_channel_keys": seal_control_channel_keys(vault, {TLS_CRYPT: key} if key else {})}


def _association_ids(connection: Connection, endpoint: DeclaredEndpoint) -> dict[str, str]:
    """The id of the association with each target network: the one that it has, or a fresh one."""
    table = schema.association
    alive = select(table).where(table.c.endpoint_id == endpoint.id, table.c.ended_at.is_(None))
    known = {row.subnet_id: row.id for row in connection.execute(alive)}
    subnets = {target.name: endpoint.subnet_id(target.name) for target in endpoint.spec.target_networks}
    return {name: known.get(subnet) or new_id("cvpn-assoc") for name, subnet in subnets.items()}


def _remove_what_is_its_own(connection: Connection, endpoint_id: str, now: float, kept: Iterable[str] = ()) -> None:
    """Remove routes, rules and lists; associations are ended, since they are accounted by their ids."""
    for table in (schema.route, schema.authorization_rule, schema.crl):
        connection.execute(delete(table).where(table.c.endpoint_id == endpoint_id))
    table = schema.association
    over = (table.c.endpoint_id == endpoint_id) & table.c.ended_at.is_(None) & table.c.id.not_in(list(kept))
    ended = {"status_code": "disassociated", "status_message": "", "ended_at": now}
    connection.execute(update(table).where(over).values(**ended))


def _put(
    connection: Connection, table: Table, row: Mapping[str, Any], key: tuple[str, ...], keep: tuple[str, ...] = ()
) -> None:
    """Write a row over the one of its key, but for what is to be kept of that; or add it."""
    where = [table.c[name] == row[name] for name in key]
    values = {name: value for name, value in row.items() if name not in keep}
    if not connection.execute(update(table).where(*where).values(**values)).rowcount:
        connection.execute(insert(table).values(**row))


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)
