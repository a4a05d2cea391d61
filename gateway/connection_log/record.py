"""One record of the connection log: AWS Client VPN's keys and values, and what AWS leaves out.

All scalar values are JSON strings, as AWS writes them, and `NA` stands where there is nothing to say. It owns the
shape of a record; it knows neither when one is written nor where to.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
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

    def as_json(self) -> dict[str, str | list[str]]:
        """Every key, AWS's first and in AWS's order."""
        return {
            "connection-log-type": self.record_type.value,
            "connection-attempt-status": self.attempt_status.value,
            "connection-reset-status": NA,
            "connection-attempt-failure-reason": self.failure_reason or NA,
            "connection-id": self.connection_id,
            "client-vpn-endpoint-id": self.endpoint_id,
            "transport-protocol": self.transport_protocol,
            "connection-start-time": _time(self.started_at),
            "connection-last-update-time": _time(self.updated_at),
            "client-ip": str(self.client_ip or NA),
            "client-ip-v6": NA,
            "common-name": self.common_name or NA,
            "device-type": self.device_type or NA,
            "device-ip": self.device_ip,
            "port": str(self.port),
            "ingress-bytes": str(self.counters.ingress_bytes),
            "egress-bytes": str(self.counters.egress_bytes),
            "ingress-packets": str(self.counters.ingress_packets),
            "egress-packets": str(self.counters.egress_packets),
            "connection-end-time": _time(self.ended_at),
            "connection-duration-seconds": self._duration(),
            "reason-code": self.reason_code.value if self.reason_code else NA,
            "client-vpn-endpoint-name": self.endpoint_name,
            "groups": list(self.groups),
            "client-version": self.client_version or NA,
            "cipher": self.cipher or NA,
            "tls-version": self.tls_version or NA,
            "node": self.node,
            "log-group": self.log_group or NA,
            "log-stream": self.log_stream or NA,
        }

    def _duration(self) -> str:
        if self.started_at is None or self.ended_at is None:
            return NA
        return str(max(0, int(self.ended_at) - int(self.started_at)))


def build_line(record: ConnectionRecord) -> bytes:
    """Give the record as one line of JSON, newline included; JSON escapes whatever control characters it holds."""
    return json.dumps(record.as_json(), ensure_ascii=True).encode() + b"\n"


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
