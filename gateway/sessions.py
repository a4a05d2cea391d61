"""The sessions of one endpoint, and the ways to find one.

A session is one client's connection from its admission to its end, with what it holds meanwhile. These classes keep
state and keep it consistent; what is done with it is `endpoint`'s work.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from gateway.connection_log import Counters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from gateway.identity import Identity
    from tunnel import Path, ServerConnection, Traffic

__all__ = ["Lease", "PeerIds", "Session", "SessionTable", "counters_of"]

_Way = tuple[tuple[str, int], str, int]


@dataclass(frozen=True, slots=True)
class Lease:
    """What an authorised client holds: given as one, taken back as one."""

    peer_id: int
    address: IPv4Address
    identity: Identity


@dataclass(slots=True, eq=False)
class Session:
    """One client's connection. Times ending in `_at` are Unix seconds, moments are on trio's clock."""

    connection_id: str
    connection: ServerConnection
    path: Path
    client_session_id: bytes
    admitted_moment: float = 0.0
    without_cookie: bool = False
    """Admitted over UDP before its address was proved, as OpenVPN 2.5 with tls-crypt-v2 has to be."""
    half_open: bool = True
    """Counted among the handshakes in flight."""
    lease: Lease | None = None
    identity: Identity | None = None
    """Who the client has proved to be, or has claimed with a certificate that was refused; for the log."""
    proven: bool = False
    """Whether `identity` is more than a claim."""
    authorized_moment: float | None = None
    """When the client was let in, and keys began to be confirmed."""
    address: IPv4Address | None = None
    """The address that it has or had; stays when the lease is gone."""
    established_at: float | None = None
    established_moment: float | None = None
    tls_version: str | None = None
    counters: Counters = field(default=Counters())
    """What it has moved, as far as the log has been told."""
    expires_moment: float | None = None
    refresh_moment: float | None = None
    ended: bool = False
    """Logged and without a lease; its connection may still say its last words."""

    def next_moment(self) -> float | None:
        """When this session wants to be called."""
        moment = self.connection.get_timer()
        for own in (self.expires_moment, self.refresh_moment):
            if own is not None and (moment is None or own < moment):
                moment = own
        return moment


def counters_of(traffic: Traffic) -> Counters:
    """What the plane has counted for a session, as the connection log tells it."""
    return Counters(
        ingress_packets=traffic.ingress_packets,
        ingress_bytes=traffic.ingress_bytes,
        egress_packets=traffic.egress_packets,
        egress_bytes=traffic.egress_bytes,
    )


class PeerIds:
    """Numbers for peers, always the lowest free one: they stay small, and so do the plane's tables."""

    def __init__(self) -> None:
        self._next = 0
        self._free: list[int] = []

    def take(self) -> int:
        """The lowest number that nobody has."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, peer_id: int) -> None:
        """Nobody has this number any more."""
        heapq.heappush(self._free, peer_id)


class SessionTable:
    """All sessions of an endpoint, by each name that somebody knows them by."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self._by_path: dict[_Way, list[Session]] = {}
        self._by_peer: dict[int, Session] = {}
        self._by_name: defaultdict[str, dict[str, Session]] = defaultdict(dict)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def leased(self) -> tuple[Session, ...]:
        """The sessions of authorised clients, the first authorised first."""
        return tuple(self._by_peer.values())

    @property
    def lease_count(self) -> int:
        """How many clients are authorised."""
        return len(self._by_peer)

    def add(self, session: Session) -> None:
        """Take in a new session, which holds nothing yet."""
        self._by_id[session.connection_id] = session
        self._by_path.setdefault(_way(session.path), []).append(session)

    def remove(self, session: Session) -> None:
        """Forget a session, which holds nothing any more."""
        self._by_id.pop(session.connection_id, None)
        self._leave_path(session)

    def move(self, session: Session, path: Path) -> None:
        """The client is reached elsewhere now."""
        self._leave_path(session)
        session.path = path
        self._by_path.setdefault(_way(path), []).append(session)

    def grant(self, session: Session, lease: Lease) -> None:
        """The client is authorised, and holds this."""
        session.lease = lease
        session.identity = lease.identity
        session.address = lease.address
        self._by_peer[lease.peer_id] = session
        self._by_name[lease.identity.common_name][session.connection_id] = session

    def revoke(self, session: Session) -> Lease | None:
        """Take back what the client holds; None where it holds nothing."""
        lease, session.lease = session.lease, None
        if lease is not None:
            del self._by_peer[lease.peer_id]
            namesakes = self._by_name[lease.identity.common_name]
            del namesakes[session.connection_id]
            if not namesakes:
                del self._by_name[lease.identity.common_name]
        return lease

    def find(self, path: Path, client_session_id: bytes) -> Session | None:
        """The session that a control packet belongs to."""
        for session in self._by_path.get(_way(path), ()):
            if session.client_session_id == client_session_id:
                return session
        return None

    def at(self, path: Path) -> tuple[Session, ...]:
        """All sessions on a path, the oldest first: more than one while a client's new handshake is under way."""
        return tuple(self._by_path.get(_way(path), ()))

    def of_peer(self, peer_id: int) -> Session | None:
        """The session of a peer of the plane."""
        return self._by_peer.get(peer_id)

    def of_id(self, connection_id: str) -> Session | None:
        """The session of this connection id."""
        return self._by_id.get(connection_id)

    def count_of_name(self, common_name: str) -> int:
        """How many authorised sessions one certificate name has."""
        return len(self._by_name.get(common_name, ()))

    def oldest_of_name(self, common_name: str, count: int) -> tuple[Session, ...]:
        """At most so many of the authorised sessions of one certificate name, the oldest first."""
        return tuple(islice(self._by_name.get(common_name, {}).values(), count))

    def _leave_path(self, session: Session) -> None:
        way = _way(session.path)
        sessions = self._by_path.get(way, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self._by_path.pop(way, None)


def _way(path: Path) -> _Way:
    """Give what tells paths apart, as a key that costs little: looked up with every packet. UDP has no stream."""
    return path.remote, path.local, path.stream
