"""What the daemon says about itself: documents for `portway status` and `portway connections`, as JSON can hold them.

It reads and never changes anything.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.expiry import expiries
from gateway.session_log import endpoint_id

if TYPE_CHECKING:
    from gateway.connection_log import ConnectionLog
    from gateway.endpoint import Endpoint
    from gateway.sessions import Session

__all__ = ["describe_connection_log", "describe_endpoint", "describe_session"]


def describe_endpoint(endpoint: Endpoint, now: datetime) -> dict[str, Any]:
    """One endpoint: what it listens on, how full it is, what it drops, and what ends when."""
    spec, pool, half_open = endpoint.spec, endpoint.authorizer.pool, endpoint.admitter.half_open
    return {
        "name": spec.name,
        "id": endpoint_id(spec.name),
        "plane": asdict(endpoint.plane.facts()),
        "listeners": [f"{transport} {spec.listen} port {spec.vpn_port}" for transport in spec.transport_protocol],
        "sessions": endpoint.sessions.lease_count,
        "pool": {"network": str(pool.network), "used": pool.used, "capacity": pool.capacity},
        "half_open": {"now": half_open.total, "limit": half_open.limit},
        "drops": {drop.value: count for drop, count in sorted(endpoint.plane.drops().items(), key=lambda i: -i[1])},
        "ignored": dict(endpoint.admitter.ignored.most_common()),
        "expiries": [
            {
                "what": expiry.what,
                "ends": expiry.ends.isoformat(),
                "days_left": (expiry.ends - now).days,
                "urgency": expiry.urgency(now).value,
            }
            for expiry in expiries(spec)
        ],
    }


def describe_session(endpoint: Endpoint, session: Session, unix_time: float) -> dict[str, Any]:
    """One session of an authorised client."""
    lease, connection = session.lease, session.connection
    traffic = endpoint.plane.traffic(lease.peer_id) if lease else None
    started = session.established_at
    return {
        "id": session.connection_id,
        "endpoint": endpoint.spec.name,
        "common_name": session.identity.common_name if session.identity else "",
        "groups": list(session.identity.groups) if session.identity else [],
        "status": "active" if started else "connecting",
        "client_ip": str(session.address or ""),
        "device_ip": session.path.remote[0],
        "port": session.path.remote[1],
        "transport": session.path.transport.value,
        "connected_since": datetime.fromtimestamp(started, UTC).isoformat() if started else None,
        "duration_s": int(unix_time - started) if started else 0,
        "ingress_bytes": traffic.ingress_bytes if traffic else 0,
        "egress_bytes": traffic.egress_bytes if traffic else 0,
        "ingress_packets": traffic.ingress_packets if traffic else 0,
        "egress_packets": traffic.egress_packets if traffic else 0,
        "drops": {drop.value: count for drop, count in traffic.drops.items()} if traffic else {},
        "client_version": connection.peer_info.version,
        "platform": connection.peer_info.platform,
        "cipher": connection.negotiated.cipher.value if connection.negotiated else "",
        "tls_version": session.tls_version or "",
    }


def describe_connection_log(log: ConnectionLog) -> list[dict[str, Any]]:
    """How each sink of the connection log fares."""
    return [
        {"sink": sink.name, "queued": sink.queued, "lost": sink.lost, "failing": sink.failing} for sink in log.status()
    ]
