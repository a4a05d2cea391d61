"""Turns what happens to sessions into records of the connection log.

It knows which facts of a session go where; when something is worth a record, `endpoint` and `admission` say.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.connection_log import AttemptStatus, ConnectionRecord, RecordType
from gateway.object_ids import DIGITS, endpoint_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.connection_log import ConnectionLog, ReasonCode
    from gateway.sessions import Session
    from policy import LogDestination
    from tunnel import Path

__all__ = ["SessionLog", "endpoint_id", "new_connection_id"]


def new_connection_id() -> str:
    """A fresh connection id in AWS's form."""
    return f"cvpn-connection-{secrets.token_hex(DIGITS)[:DIGITS]}"


@dataclass(slots=True)
class SessionLog:
    """Writes the records of one endpoint."""

    log: ConnectionLog
    node: str
    endpoint_name: str
    unix_time: Callable[[], float]
    destination: LogDestination | None
    """Where they go from now on; None for no log group."""

    def connected(self, session: Session) -> None:
        """The client is connected, or goes on being so with new counters."""
        self.log.write(self._record(session, RecordType.ATTEMPT, AttemptStatus.SUCCESSFUL))

    def failed(self, session: Session, reason: ReasonCode, text: str) -> None:
        """The client had been admitted, and its handshake failed."""
        self.log.write(self._record(session, RecordType.ATTEMPT, AttemptStatus.FAILED, reason=reason, text=text))

    def ended(self, session: Session, reason: ReasonCode) -> None:
        """A session that had been established is over."""
        self.log.write(
            self._record(
                session, RecordType.RESET, AttemptStatus.NOT_APPLICABLE, reason=reason, ended_at=self.unix_time()
            )
        )

    def refused(self, path: Path, reason: ReasonCode, text: str) -> None:
        """An attempt was turned away before it was a connection."""
        self.log.write(
            ConnectionRecord(
                record_type=RecordType.ATTEMPT,
                attempt_status=AttemptStatus.FAILED,
                connection_id=new_connection_id(),
                endpoint_id=endpoint_id(self.endpoint_name),
                endpoint_name=self.endpoint_name,
                node=self.node,
                transport_protocol=path.transport.value,
                device_ip=path.remote[0],
                port=path.remote[1],
                updated_at=self.unix_time(),
                failure_reason=text,
                reason_code=reason,
                log_group=self.destination.group if self.destination else None,
                log_stream=self._stream,
            )
        )

    @property
    def _stream(self) -> str | None:
        """What records are marked with in their log group."""
        if self.destination is None:
            return None
        return self.destination.stream or endpoint_id(self.endpoint_name)

    def _record(
        self,
        session: Session,
        record_type: RecordType,
        status: AttemptStatus,
        *,
        reason: ReasonCode | None = None,
        text: str | None = None,
        ended_at: float | None = None,
    ) -> ConnectionRecord:
        connection = session.connection
        return ConnectionRecord(
            record_type=record_type,
            attempt_status=status,
            connection_id=session.connection_id,
            endpoint_id=endpoint_id(self.endpoint_name),
            endpoint_name=self.endpoint_name,
            node=self.node,
            transport_protocol=session.path.transport.value,
            device_ip=session.path.remote[0],
            port=session.path.remote[1],
            updated_at=self.unix_time(),
            failure_reason=text,
            reason_code=reason,
            started_at=session.established_at,
            ended_at=ended_at,
            client_ip=session.address if session.established_at is not None else None,
            common_name=session.identity.common_name if session.identity else None,
            groups=session.identity.groups if session.identity else (),
            device_type=connection.peer_info.platform or None,
            client_version=connection.peer_info.version or None,
            cipher=connection.negotiated.cipher.value if connection.negotiated else None,
            tls_version=session.tls_version,
            counters=session.counters,
            log_group=self.destination.group if self.destination else None,
            log_stream=self._stream,
        )
