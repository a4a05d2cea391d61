"""One endpoint while it runs: plane, front door and sessions, and how a packet finds its session.

It is what the plane reports to. Each report goes to the session that it concerns; what belongs to nobody goes to the
front door. Nothing that a client can send gets an exception out of here.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
import trio

from gateway.admission import Admitter
from gateway.authorization import Authorizer
from gateway.reconciliation import reconcile
from gateway.session_keeper import SessionKeeper
from gateway.session_log import SessionLog
from tunnel import CloseReason, PlaneEvents, Reply, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.connection_log import ConnectionLog
    from gateway.endpoint_settings import Terms
    from gateway.measures import SessionMeasures
    from gateway.sessions import Session, SessionTable
    from policy import EndpointChange, EndpointSpec
    from tunnel import DataPlane, Path

__all__ = ["Endpoint"]

CLIENT_SESSION_ID = slice(1, 9)
"""Where every control packet carries its sender's session id, in the clear whatever the protection."""
DRAIN_S = 1.5
"""How long clients are told that the gateway goes: once, and once more. Many reconnect without a word."""


class Endpoint(PlaneEvents):
    """A running endpoint."""

    def __init__(
        self,
        terms: Terms,
        plane: DataPlane,
        connection_log: ConnectionLog,
        *,
        node: str,
        refresh_s: float = 60,
        now: Callable[[], float] = trio.current_time,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """`refresh_s` is how often a session's counters go to the connection log."""
        self.plane = plane
        self._log = log = SessionLog(connection_log, node, terms.spec.name, unix_time, terms.spec.connection_log)
        self.admitter = Admitter(terms.front_door, terms.spec.handshake, log)
        self.authorizer = Authorizer(terms.spec)
        self._keeper = SessionKeeper(terms, plane, self.admitter, self.authorizer, log, now=now, refresh_s=refresh_s)
        self._now = now
        self._unix_time = unix_time
        self._draining = False
        self._logger = structlog.get_logger("endpoint").bind(endpoint=terms.spec.name)

    @property
    def terms(self) -> Terms:
        """The terms that it runs by."""
        return self._keeper.terms

    @property
    def spec(self) -> EndpointSpec:
        """The spec that it runs by."""
        return self.terms.spec

    @property
    def sessions(self) -> SessionTable:
        """Its sessions, handshakes included."""
        return self._keeper.sessions

    @property
    def measures(self) -> SessionMeasures:
        """What became of its sessions since it was put up."""
        return self._keeper.measures

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve clients until cancelled; the plane closes its sockets and device then."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.plane.run, self)
            nursery.start_soon(self._keeper.timers.run, self._keeper.handle_timer)
            task_status.started()

    async def adopt(self, change: EndpointChange, terms: Terms) -> None:
        """Apply a changed spec that needs no restart."""
        self._log.destination = terms.spec.connection_log
        await reconcile(
            change,
            terms,
            keeper=self._keeper,
            admitter=self.admitter,
            authorizer=self.authorizer,
            plane=self.plane,
        )

    def terminate(self, session: Session) -> None:
        """End a session for an administrator."""
        self._keeper.halt(session, CloseReason.TERMINATED, "an administrator ended the session")

    async def drain(self, reason: CloseReason, text: str) -> None:
        """Let nobody in any more, ask all clients to connect again, and wait a little until they have heard it."""
        self._draining = True
        for session in self.sessions:
            if session.ended:  # has had its last words, and may be waiting for a client that is gone
                self._keeper.abandon(session, reason, text)
            else:
                self._keeper.restart(session, reason, text)
        with trio.move_on_after(DRAIN_S):
            await self._keeper.wait_empty()

    def end_all(self, reason: CloseReason, text: str) -> None:
        """Close the books on all sessions, of a plane that no longer runs: nobody hears it."""
        for session in self.sessions:
            self._keeper.abandon(session, reason, text)

    # What the plane reports

    def control_received(self, path: Path, packet: bytes) -> None:
        """Give the packet to its session, or ask the front door."""
        try:
            session = self.sessions.find(path, packet[CLIENT_SESSION_ID])
            if session is not None:
                self._keeper.receive(session, packet)
            elif not self._draining:
                self._knock_untrusted(path, packet)
        except Exception:
            self._logger.exception("a control packet could not be handled")

    def peer_floated(self, peer_id: int, path: Path) -> None:
        """The client is elsewhere."""
        with self._survive():
            session = self.sessions.of_peer(peer_id)
            if session is not None:
                self._keeper.move(session, path)

    def peer_idle(self, peer_id: int) -> None:
        """The client is gone without a word."""
        self._abandon(peer_id, CloseReason.IDLE, "nothing arrived from the client for too long")

    def peer_exited(self, peer_id: int) -> None:
        """The client said in its data channel that it leaves."""
        self._abandon(peer_id, CloseReason.CLIENT_EXIT, "the client left")

    def key_worn(self, peer_id: int) -> None:
        """The client's key is nearly used up."""
        with self._survive():
            session = self.sessions.of_peer(peer_id)
            if session is not None:
                self._keeper.renegotiate(session)

    def stream_opened(self, path: Path) -> None:
        """A TCP connection is nobody's until its first packet; the plane bounds how many there are and how long."""

    def stream_closed(self, path: Path) -> None:
        """Whoever was on this TCP connection is gone."""
        with self._survive():
            for session in self.sessions.at(path):
                self._keeper.abandon(session, CloseReason.STREAM_CLOSED, "the TCP connection ended")

    # Pieces

    def _knock_untrusted(self, path: Path, packet: bytes) -> None:
        decision = self.admitter.knock_untrusted(path, packet, self._now(), self._unix_time())
        if isinstance(decision, Reply):
            self.plane.send_control(path, [decision.packet])
        elif decision is not None:
            self._keeper.begin(path, decision)
        elif path.transport is Transport.TCP and not self.sessions.at(path):
            self.plane.close_stream(path)

    def _abandon(self, peer_id: int, reason: CloseReason, text: str) -> None:
        with self._survive():
            session = self.sessions.of_peer(peer_id)
            if session is not None:
                self._keeper.abandon(session, reason, text)

    @contextmanager
    def _survive(self) -> Iterator[None]:
        """Keep a fault in the gateway from ending the daemon, whatever a client did to find it."""
        try:
            yield
        except Exception:
            self._logger.exception("a report of the plane could not be handled")
