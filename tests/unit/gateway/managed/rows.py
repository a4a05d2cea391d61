"""Records of the connection log, and what the store has made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, select

from gateway.connection_log import AttemptStatus, ConnectionRecord, Counters, RecordType
from tests.unit.gateway.actions.rows import ENDPOINT_ID
from tunnel import CloseReason

if TYPE_CHECKING:
    from gateway.store import Store

NODE = "gw1"
T0 = 1_800_000_000.0


def established(number: int = 1, at: float = T0, **changes: Any) -> ConnectionRecord:
    """A client has connected, or goes on being connected."""
    record = ConnectionRecord(
        record_type=RecordType.ATTEMPT,
        attempt_status=AttemptStatus.SUCCESSFUL,
        connection_id=f"cvpn-connection-{number:017x}",
        endpoint_id=ENDPOINT_ID,
        endpoint_name="main",
        node=NODE,
        transport_protocol="udp",
        device_ip="198.51.100.9",
        port=50096,
        updated_at=at,
        started_at=at,
        common_name="ana",
        groups=("engineering",),
        device_type="linux",
        client_version="2.6.14",
    )
    return replace(record, **changes)


def ended(record: ConnectionRecord, at: float, moved: int = 0) -> ConnectionRecord:
    """The connection of a record is over."""
    return replace(
        record,
        record_type=RecordType.RESET,
        attempt_status=AttemptStatus.NOT_APPLICABLE,
        reason_code=CloseReason.CLIENT_EXIT,
        updated_at=at,
        ended_at=at,
        counters=counters(moved),
    )


def failed(number: int = 1, at: float = T0, **changes: Any) -> ConnectionRecord:
    """An attempt that came to nothing."""
    return established(
        number,
        at,
        attempt_status=AttemptStatus.FAILED,
        started_at=None,
        failure_reason="the certificate is past its end",
        reason_code=CloseReason.CERTIFICATE_EXPIRED,
        **changes,
    )


def counters(moved: int) -> Counters:
    return Counters(
        ingress_packets=moved, ingress_bytes=100 * moved, egress_packets=2 * moved, egress_bytes=900 * moved
    )


def rows(store: Store, table: Table) -> list[dict[str, Any]]:
    """All rows of a table, in the order of its key."""
    with store.read() as transaction:
        found = transaction.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row) for row in found.mappings()]
