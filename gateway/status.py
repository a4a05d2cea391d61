"""What the daemon says about itself, as JSON can hold it: for `portway status` and `connections`, health and metrics.

It reads and never changes anything.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.expiry import expiries
from gateway.object_ids import endpoint_id
from gateway.sessions import counters_of

if TYPE_CHECKING:
    from gateway.connection_log import ConnectionLog
    from gateway.endpoint import Endpoint
    from gateway.measures import Histogram
    from gateway.sessions import Session

__all__ = ["describe_connection_log", "describe_endpoint", "describe_measures", "describe_session"]


def describe_endpoint(endpoint: Endpoint, now: datetime) -> dict[str, Any]:
    """One endpoint: what it listens on, how full it is, what it drops, and what ends when."""
    spec, pool, half_open = endpoint.spec, endpoint.authorizer.pool, endpoint.admitter.half_open
    return {
        "name": spec.name,
        "id": endpoint_id(spec.name),
        "plane": asdict(endpoint.plane.facts()),
        "listeners": [f"{transport} {spec.listen} port {spec.vpn_port}" for transport in spec.transport_protocol],
        "connection_log": asdict(spec.connection_log) if spec.connection_log else None,
        "sessions": endpoint.sessions.lease_count,
        "pool": {"network": str(pool.network), "used": pool.used, "capacity": pool.capacity},
        "half_open": {"now": half_open.total, "limit": half_open.limit},
        "drops": {drop.value: count for drop, count in sorted(endpoint.plane.drops().items(), key=lambda i: -i[1])},
        "ignored": dict(endpoint.admitter.ignored.most_common()),
        "expiries": [
            {
                "what": expiry.what,
                "kind": expiry.kind.value,
                "ends": expiry.ends.isoformat(),
                "days_left": (expiry.ends - now).days,
                "urgency": expiry.urgency(now).value,
            }
            for expiry in expiries(spec)
        ],
    }


def describe_measures(endpoint: Endpoint) -> dict[str, Any]:
    """What has become of an endpoint's sessions since it was put up, and how far those are that have just begun."""
    measures = endpoint.measures
    going_on = (endpoint.plane.traffic(session.lease.peer_id) for session in endpoint.sessions.leased if session.lease)
    begun = [session for session in endpoint.sessions if session.established_at is None and not session.ended]
    authorized = sum(session.lease is not None for session in begun)
    return {
        "established": measures.established,
        "failed": dict(measures.failed),
        "ended": dict(measures.ended),
        "moved": asdict(sum(map(counters_of, going_on), measures.moved)),
        "handshakes": {
            "authentication": {"in_flight": len(begun) - authorized, "took_s": _histogram(measures.authentication_s)},
            "confirmation": {"in_flight": authorized, "took_s": _histogram(measures.confirmation_s)},
        },
    }


def _histogram(histogram: Histogram) -> dict[str, Any]:
    return {"bounds": histogram.bounds, "counts": histogram.counts, "sum": histogram.sum}


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
        {
            "sink": sink.name,
            "groups": list(sink.groups),
            "queued": sink.queued,
            "lost": sink.lost,
            "failing": sink.failing,
        }
        for sink in log.status()
    ]
