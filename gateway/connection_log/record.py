"""One record of the connection log: AWS Client VPN's keys and values, and what AWS leaves out.

All scalar values are JSON strings, as AWS writes them, and `NA` stands where there is nothing to say. It owns the
shape of a record; it knows neither when one is written nor where to.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING

from gateway.timestamps import timestamp

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from gateway.connection_log.reasons import ReasonCode

__all__ = ["NA", "AttemptStatus", "ConnectionRecord", "Counters", "RecordType", "build_line", "build_loss_line"]

NA = "NA"


class RecordType(enum.Enum):
    """AWS's `connection-log-type`."""

    ATTEMPT = "connection-attempt"
    """A client tries to connect, has connected, or goes on being connected (refreshed counters)."""
    RESET = "connection-reset"
    """A session that had been established is over."""


class AttemptStatus(enum.Enum):
    """AWS's `connection-attempt-status`."""

    SUCCESSFUL = "successful"
    """The client is connected."""
    FAILED = "failed"
    """It is not, and the failure reason says why."""
    NOT_APPLICABLE = "NA"
    """The record is about the end of a session."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a session has moved. Ingress is what the client sent, egress what it received."""

    ingress_packets: int = 0
    ingress_bytes: int = 0
    egress_packets: int = 0
    egress_bytes: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.ingress_packets + other.ingress_packets,
            self.ingress_bytes + other.ingress_bytes,
            self.egress_packets + other.egress_packets,
            self.egress_bytes + other.egress_bytes,
        )


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """One event in the life of a connection. Times are Unix seconds; None is written as `NA`."""

    record_type: RecordType
    attempt_status: AttemptStatus
    connection_id: str
    endpoint_id: str
    endpoint_name: str
    node: str
    transport_protocol: str
    device_ip: str
    port: int
    updated_at: float
    failure_reason: str | None = None
    """A sentence, for failed attempts."""
    reason_code: ReasonCode | None = None
    """Why the attempt failed or the session ended."""
    started_at: float | None = None
    ended_at: float | None = None
    client_ip: IPv4Address | None = None
    common_name: str | None = None
    groups: tuple[str, ...] = ()
    device_type: str | None = None
    client_version: str | None = None
    cipher: str | None = None
    tls_version: str | None = None
    counters: Counters = Counters()
    log_group: str | None = None
    """The log group that it goes to; None where the endpoint has no connection log."""
    log_stream: str | None = None
    _json: str = field(default="", init=False, repr=False, compare=False)

    def as_json(self) -> str:
        """Every key, AWS's first and in AWS's order, as one line. Whatever text holds, it is escaped.

        Made once, for the log and for the store.
        """
        if not self._json:
            object.__setattr__(self, "_json", self._build_json())
        return self._json

    def _build_json(self) -> str:
        """Written out, since a dictionary and an encoder cost six times as much, for each client that connects."""
        return (
            f'{{"connection-log-type": "{self.record_type.value}"'
            f', "connection-attempt-status": "{self.attempt_status.value}"'
            ', "connection-reset-status": "NA"'
            f', "connection-attempt-failure-reason": {_quoted(self.failure_reason or NA)}'
            f', "connection-id": {_quoted(self.connection_id)}'
            f', "client-vpn-endpoint-id": {_quoted(self.endpoint_id)}'
            f', "transport-protocol": "{self.transport_protocol}"'
            f', "connection-start-time": "{_time(self.started_at)}"'
            f', "connection-last-update-time": "{_time(self.updated_at)}"'
            f', "client-ip": "{self.client_ip or NA}"'
            ', "client-ip-v6": "NA"'
            f', "common-name": {_quoted(self.common_name or NA)}'
            f', "device-type": {_quoted(self.device_type or NA)}'
            f', "device-ip": {_quoted(self.device_ip)}'
            f', "port": "{self.port}"'
            f', "ingress-bytes": "{self.counters.ingress_bytes}"'
            f', "egress-bytes": "{self.counters.egress_bytes}"'
            f', "ingress-packets": "{self.counters.ingress_packets}"'
            f', "egress-packets": "{self.counters.egress_packets}"'
            f', "connection-end-time": "{_time(self.ended_at)}"'
            f', "connection-duration-seconds": "{self._duration()}"'
            f', "reason-code": "{self.reason_code.value if self.reason_code else NA}"'
            f', "client-vpn-endpoint-name": {_quoted(self.endpoint_name)}'
            f', "groups": [{", ".join(map(_quoted, self.groups))}]'
            f', "client-version": {_quoted(self.client_version or NA)}'
            f', "cipher": {_quoted(self.cipher or NA)}'
            f', "tls-version": {_quoted(self.tls_version or NA)}'
            f', "node": {_quoted(self.node)}'
            f', "log-group": {_quoted(self.log_group or NA)}'
            f', "log-stream": {_quoted(self.log_stream or NA)}}}'
        )

    def _duration(self) -> str:
        if self.started_at is None or self.ended_at is None:
            return NA
        return str(max(0, int(self.ended_at) - int(self.started_at)))


def build_line(record: ConnectionRecord) -> bytes:
    """Give the record as one line of JSON, newline included."""
    return record.as_json().encode() + b"\n"


def build_loss_line(lost: int, node: str, at: float) -> bytes:
    """Give the line that says how many records are missing at this place of the log."""
    return (
        json.dumps(
            {
                "connection-log-type": "records-lost",
                "lost-records": str(lost),
                "connection-last-update-time": _time(at),
                "node": node,
            }
        ).encode()
        + b"\n"
    )


def _time(unix_s: float | None) -> str:
    return NA if unix_s is None else timestamp(unix_s)
