"""A session's life: from the admitted packet over authentication and keys to its end.

    begin ──▶ events of its connection ──▶ authenticate: lease, peer in the plane, authorize
                      │                    keys: into the plane before the client can use them
                      ▼                    established: logged, refreshed, limited in time
                   finish: out of the plane, lease given back, logged ──▶ forget: nothing is left

It drives the sans-IO connections and tells the plane; it decides nothing about who a client is (`authorization`) and
opens nothing. A fault while it works on a session ends that session, and only that one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
import trio

from gateway.authorization import Refusal
from gateway.measures import SessionMeasures
from gateway.session_log import new_connection_id
from gateway.sessions import Session, SessionTable, counters_of
from gateway.timers import TimerHeap
from tunnel import (
    AuthenticationRequested,
    Closed,
    CloseReason,
    Established,
    ExitRequested,
    KeyActivated,
    KeyDerived,
    KeyExpired,
    ServerConnection,
    Transport,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.admission import Admitter
    from gateway.authorization import Authorizer
    from gateway.endpoint_settings import Terms
    from gateway.session_log import SessionLog
    from gateway.sessions import Lease
    from tunnel import Admission, DataPlane, Event, Path

__all__ = ["SessionKeeper"]

LastWord = Callable[[CloseReason, str, float], None]
"""A verb of `ServerConnection` that ends it: reason, text, now."""


class SessionKeeper:
    """Leads the sessions of one endpoint through their lives."""

    def __init__(
        self,
        terms: Terms,
        plane: DataPlane,
        admitter: Admitter,
        authorizer: Authorizer,
        log: SessionLog,
        *,
        now: Callable[[], float],
        refresh_s: float,
    ) -> None:
        """`now` is trio's clock; the wall clock comes with `log`."""
        self.terms = terms
        self.sessions = SessionTable()
        self.timers: TimerHeap[Session] = TimerHeap()
        self._plane = plane
        self._admitter = admitter
        self._authorizer = authorizer
        self._log = log
        self._now = now
        self._refresh_s = refresh_s
        self.measures = SessionMeasures()
        self._emptied = trio.Event()
        self._logger = structlog.get_logger("sessions").bind(endpoint=terms.spec.name)

    # What happens to sessions

    def begin(self, path: Path, admission: Admission) -> None:
        """Make a session of an admitted client, and let it process the packet that it was admitted for."""
        try:
            connection = ServerConnection(
                self.terms.config,
                admission,
                reliable_transport=path.transport is Transport.TCP,
                now=self._now(),
                unix_time=self._log.unix_time,
            )
        except Exception:
            self._admitter.failed(path.remote[0], self._now())
            raise
        session = Session(
            connection_id=new_connection_id(),
            connection=connection,
            path=path,
            client_session_id=admission.remote_session_id,
            admitted_moment=self._now(),
            without_cookie=admission.needs_reset_reply and path.transport is Transport.UDP,
        )
        self.sessions.add(session)
        self.pump(session)

    def receive(self, session: Session, packet: bytes) -> None:
        """A control packet of this session arrived."""
        try:
            session.connection.receive_packet(packet, self._now())
        except Exception:
            self._logger.exception("session failed", connection_id=session.connection_id)
            self._clean_up(session)
        self.pump(session)

    def handle_timer(self, session: Session) -> None:
        """One of this session's moments has come."""
        now = self._now()
        with self._contained(session):
            session.connection.handle_timer(now)
            if session.refresh_moment is not None and session.refresh_moment <= now:
                self._refresh(session, now)
            if session.expires_moment is not None and session.expires_moment <= now:
                self._time_out(session)
        self.pump(session)

    def move(self, session: Session, path: Path) -> None:
        """The client is reached at another address; the plane knows already."""
        self._logger.info("client moved", connection_id=session.connection_id, address=path.remote[0])
        self._complete_handshake(session)
        self.sessions.move(session, path)

    def renegotiate(self, session: Session) -> None:
        """Begin a new key."""
        with self._contained(session):
            session.connection.renegotiate(self._now())
        self.pump(session)

    def adopt(self, terms: Terms) -> None:
        """Begin sessions by these terms from now on."""
        self.terms = terms

    def update(self, session: Session) -> None:
        """Renegotiate a session that lives by the present terms from now on."""
        session.connection.adopt(self.terms.config, self._now())
        self.timers.set(session, session.next_moment())

    def limit(self, session: Session) -> None:
        """Let a session last as long as the present terms say, from its beginning."""
        if session.established_moment is not None and not session.ended:
            session.expires_moment = session.established_moment + self.terms.spec.session_timeout_hours * 3600
            self.timers.set(session, session.next_moment())

    async def wait_empty(self) -> None:
        """Wait until there is no session any more."""
        while len(self.sessions):
            self._emptied = trio.Event()
            await self._emptied.wait()

    def pump(self, session: Session) -> None:
        """Take what the connection has to say: events first, then packets, since keys must be there before them."""
        now = self._now()
        try:
            self._take_events(session, now)
            if session.connection.closing is not None:
                self._conclude(session, session.connection.closing)
            packets = session.connection.packets_to_send(now)
            if packets:
                self._plane.send_control(session.path, packets)
            if session.connection.is_closed:  # which packets that cannot be sent may lead to
                self._take_events(session, now)
        except Exception:
            self._logger.exception("session failed", connection_id=session.connection_id)
            self._clean_up(session)
        if self.sessions.of_id(session.connection_id) is session:
            self.timers.set(session, session.next_moment())

    # Ways to end one

    def halt(self, session: Session, reason: CloseReason, text: str) -> None:
        """End a session, and tell its client to stay away until its user says otherwise."""
        self._end(session, session.connection.halt, reason, text)

    def restart(self, session: Session, reason: CloseReason, text: str) -> None:
        """End a session, and ask its client to connect again."""
        self._end(session, session.connection.restart, reason, text)

    def refuse(self, session: Session, reason: CloseReason, text: str) -> None:
        """End a session, and tell its client that it may not connect."""
        self._end(session, session.connection.refuse, reason, text)

    def abandon(self, session: Session, reason: CloseReason, text: str) -> None:
        """End a session without a word to its client."""
        with self._contained(session):
            session.connection.abandon(reason, text)
        self.pump(session)

    def _time_out(self, session: Session) -> None:
        """The session has lasted as long as it may: its user has to log in again, or its client does so by itself."""
        text = "the longest duration of a session is over"
        if self.terms.spec.disconnect_on_session_timeout:
            self.refuse(session, CloseReason.SESSION_TIMEOUT, f"{text}; log in again")
        else:
            self.restart(session, CloseReason.SESSION_TIMEOUT, text)

    def _end(self, session: Session, say: LastWord, reason: CloseReason, text: str) -> None:
        with self._contained(session):
            say(reason, text, self._now())
            self._finish(session, reason, text)
        self.pump(session)

    # Events of connections

    def _take_events(self, session: Session, now: float) -> None:
        while (event := session.connection.next_event()) is not None:
            self._take_event(session, event, now)

    def _take_event(self, session: Session, event: Event, now: float) -> None:
        match event:
            case AuthenticationRequested():
                self._authenticate(session, event, now)
            case KeyDerived(key) if session.lease:
                self._plane.install_key(session.lease.peer_id, key)
            case KeyActivated(key_id) if session.lease:
                self._plane.activate_key(session.lease.peer_id, key_id)
            case KeyExpired(key_id) if session.lease:
                self._plane.drop_key(session.lease.peer_id, key_id)
            case Established():
                self._establish(session, now)
            case ExitRequested():
                self._finish(session, CloseReason.CLIENT_EXIT, "the client left")
            case Closed() as closed:
                self._conclude(session, closed)
                self._forget(session)

    def _authenticate(self, session: Session, event: AuthenticationRequested, now: float) -> None:
        try:
            if event.renegotiation:
                self._admit_again(session, event)
                session.connection.authorize(None, now)
            else:
                lease = self._admit(session, event)
                session.authorized_moment = now
                self.measures.authentication_s.add(now - session.admitted_moment)
                session.connection.authorize(self._authorizer.push(lease), now)
        except Refusal as refusal:
            session.connection.refuse(refusal.reason, refusal.text, now)
            self._finish(session, refusal.reason, refusal.text)

    def _admit(self, session: Session, event: AuthenticationRequested) -> Lease:
        """Give the client its lease and its place in the plane. Raises `Refusal`."""
        negotiated = session.connection.negotiated
        if negotiated is None:
            raise Refusal(CloseReason.PROTOCOL_ERROR, "nothing was negotiated with this client")
        identity = session.identity = self._authorizer.identify(event.certificate)
        session.proven = True
        session.tls_version = session.connection.tls_version
        self._make_way(session, identity.common_name)
        self._authorizer.check_room(self.sessions.lease_count)
        lease = self._authorizer.lease(identity)
        try:
            self._plane.add_peer(self._authorizer.peer(lease, session.path, negotiated))
        except Exception:
            self._authorizer.release(lease)
            raise
        self.sessions.grant(session, lease)
        return lease

    def _admit_again(self, session: Session, event: AuthenticationRequested) -> None:
        """Let a renegotiation go on, perhaps with a renewed certificate. Raises `Refusal`."""
        if session.lease is not None:
            identity = self._authorizer.identify_again(session.lease.identity, event.certificate)
            self.sessions.grant(session, replace(session.lease, identity=identity))

    def _make_way(self, session: Session, common_name: str) -> None:
        """End the sessions that this one replaces: its client's former one here, and its name's surplus, the oldest."""
        for other in self.sessions.at(session.path):
            if other is not session and other.lease:
                self.abandon(other, CloseReason.REPLACED, "the client made a new connection from the same address")
        surplus = self._authorizer.surplus(self.sessions.count_of_name(common_name))
        for other in self.sessions.oldest_of_name(common_name, surplus):
            self.abandon(other, CloseReason.REPLACED, "the same certificate name made a new connection")

    def _establish(self, session: Session, now: float) -> None:
        self._complete_handshake(session)
        if session.lease is None:
            return
        session.established_at = self._log.unix_time()
        self.measures.note_established(session, now)
        session.refresh_moment = now + self._refresh_s
        session.established_moment = now
        self.limit(session)
        self._log.connected(session)
        self._logger.info(
            "client connected",
            connection_id=session.connection_id,
            common_name=session.lease.identity.common_name,
            address=session.path.remote[0],
            client_ip=str(session.lease.address),
        )

    def _complete_handshake(self, session: Session) -> None:
        if not session.half_open:
            return
        session.half_open = False
        self._admitter.completed(session.path.remote[0], without_cookie=session.without_cookie)

    def _refresh(self, session: Session, now: float) -> None:
        session.refresh_moment = now + self._refresh_s
        if session.lease is not None:
            session.counters = counters_of(self._plane.traffic(session.lease.peer_id))
            self._log.connected(session)

    # The end

    def _conclude(self, session: Session, closed: Closed) -> None:
        """The connection ends, or has begun to: whatever its client still hears, it has nothing any more."""
        refused = session.connection.refused_certificate
        if refused is not None and session.identity is None:
            session.identity = self._authorizer.claimed(refused)
        self._finish(session, closed.reason, closed.text)

    def _finish(self, session: Session, reason: CloseReason, text: str) -> None:
        """Take everything back and write the last record, once; the connection may still have something to say."""
        if session.ended:
            return
        session.ended = True
        session.expires_moment = session.refresh_moment = None
        self._take_back(session)
        self.measures.note_end(session, reason)
        if session.established_at is not None:
            self._log.ended(session, reason)
        elif session.proven or self._admitter.records_failure(session.path.remote[0], reason, self._now()):
            self._log.failed(session, reason, text)
        else:
            return
        self._logger.info(
            "client gone" if session.established_at else "attempt failed",
            connection_id=session.connection_id,
            common_name=session.identity.common_name if session.identity else None,
            address=session.path.remote[0],
            reason=reason.value,
            text=text,
        )

    def _take_back(self, session: Session) -> None:
        lease = self.sessions.revoke(session)
        if lease is not None:
            self._authorizer.release(lease)
            session.counters = counters_of(self._plane.remove_peer(lease.peer_id))
            self.measures.note_moved(session.counters)

    def _forget(self, session: Session) -> None:
        """Nothing more will come of this session."""
        self.timers.set(session, None)
        self.sessions.remove(session)
        if not len(self.sessions):
            self._emptied.set()
        if session.half_open:
            session.half_open = False
            self._admitter.failed(session.path.remote[0], self._now())
        if session.path.transport is Transport.TCP and not self.sessions.at(session.path):
            self._plane.close_stream(session.path)

    @contextmanager
    def _contained(self, session: Session) -> Iterator[None]:
        """Let a fault end this session, and nothing else."""
        try:
            yield
        except Exception:
            self._logger.exception("session failed", connection_id=session.connection_id)
            self._clean_up(session)

    def _clean_up(self, session: Session) -> None:
        """End a session whose state may be anything."""
        for step in (self._finish_after_fault, self._forget):
            try:
                step(session)
            except Exception:
                self._logger.exception("session could not be cleaned up", connection_id=session.connection_id)

    def _finish_after_fault(self, session: Session) -> None:
        self._finish(session, CloseReason.INTERNAL_ERROR, "a fault in the gateway ended this session")
