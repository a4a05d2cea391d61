"""A reliable, ordered stream of control messages over packets that may be lost: one per key id.

Owns message ids, acknowledgements, the two windows and retransmission (OpenVPN `reliable.c`). Must not know the
protection of packets, TLS, or what messages mean. The rules:

- Ids count from 0 in each direction. What was received in order is handed out once; what came early waits.
- A repetition is dropped and acknowledged again, since its acknowledgement was lost. What lies beyond the
  window is dropped without acknowledgement.
- Acknowledgements ride on messages, a few each; what remains goes in ACK_V1. Recent ones are repeated where
  there is room, as OpenVPN 2.6 does: a lost acknowledgement then costs no retransmission.
- A message is sent again when its time-out passes, doubling each time, or as soon as three later ones are
  acknowledged. Over a reliable transport nothing is ever sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunnel.errors import BadPacket, HandshakeError
from tunnel.events import CloseReason
from tunnel.wire import CLIENT_RESETS, MAX_ACKS, ControlPacket, Opcode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MAX_QUEUED", "RECEIVE_WINDOW", "SEND_WINDOW", "Reliability"]

SEND_WINDOW = 4
"""Messages in flight: the window of OpenVPN 2.4 and 2.5, half of what any client accepts."""
RECEIVE_WINDOW = 12
"""Messages accepted ahead of the next one (OpenVPN 2.6); bounds what waits to be ordered."""
MAX_QUEUED = 256
"""Messages that may wait for acknowledgement: a few hundred kilobytes, more than any handshake has."""

_ACKS_BESIDE_MESSAGE = 4
"""More would be legal, but some peers take no more (OpenVPN `CONTROL_SEND_ACK_MAX`)."""
_FAST_RETRANSMIT_ACKS = 3
_MAX_PENDING_ACKS = 2 * RECEIVE_WINDOW
_MAX_TIMEOUT_S = 60.0


class _Outgoing:
    """A message until it is acknowledged."""

    __slots__ = ("due", "later_acks", "message_id", "opcode", "payload", "timeout_s", "urgent")

    def __init__(self, message_id: int, opcode: Opcode, payload: bytes, timeout_s: float) -> None:
        self.message_id = message_id
        self.opcode = opcode
        self.payload = payload
        self.timeout_s = timeout_s
        self.due = 0.0
        self.later_acks = 0
        self.urgent = True  # to be sent with the next call, whatever the time


class Reliability:
    """The reliable stream of one key id of one association. Sans-IO: time comes in as `now`, in seconds."""

    __slots__ = (
        "_early",
        "_in_flight",
        "_key_id",
        "_next_receive_id",
        "_next_send_id",
        "_pending_acks",
        "_queue",
        "_recent_acks",
        "_reliable_transport",
        "_retransmit_after_s",
        "_session_id",
        "remote_session_id",
    )

    def __init__(
        self,
        session_id: bytes,
        remote_session_id: bytes | None,
        *,
        key_id: int = 0,
        reliable_transport: bool = False,
        retransmit_after_s: float = 1.0,
        next_send_id: int = 0,
        next_receive_id: int = 0,
    ) -> None:
        """`remote_session_id` None: learnt from the first packet that acknowledges one of ours.

        After a stateless start both ids begin at 1: what was 0 is over and acknowledged.
        """
        self.remote_session_id = remote_session_id
        self._session_id = session_id
        self._key_id = key_id
        self._reliable_transport = reliable_transport
        self._retransmit_after_s = retransmit_after_s
        self._next_send_id = next_send_id
        self._next_receive_id = next_receive_id
        self._queue: list[_Outgoing] = []  # beyond the window; short, and a deque takes 700 octets when it is empty
        self._in_flight: dict[int, _Outgoing] = {}  # by message id, ascending
        self._early: dict[int, ControlPacket] = {}  # received before their turn, by message id
        self._pending_acks: list[int] = []
        self._recent_acks: tuple[int, ...] = ()  # the latest first

    @property
    def all_acknowledged(self) -> bool:
        """Everything sent was acknowledged."""
        return not self._in_flight and not self._queue

    def send(self, opcode: Opcode, payload: bytes, now: float) -> None:  # noqa: ARG002 - one face for all verbs
        """Queue a message; it leaves with `packets_to_send`.

        Raises HandshakeError where the peer has left so many unacknowledged that it must be dead or hostile.
        """
        if len(self._queue) >= MAX_QUEUED:
            raise HandshakeError(CloseReason.PROTOCOL_ERROR, "The peer acknowledges nothing of what is sent to it.")
        self._queue.append(_Outgoing(self._next_send_id, opcode, payload, self._retransmit_after_s))
        self._next_send_id += 1

    def receive_untrusted(self, packet: ControlPacket, now: float) -> list[ControlPacket]:  # noqa: ARG002
        """Take a packet of this key id; return the messages that are now in order, oldest first.

        Hard resets are messages too: their receiver ignores what it does not expect. Raises BadPacket for another
        key id, or another session on either side; nothing has changed then.
        """
        self._check_addressed_untrusted(packet)
        self._process_acks(packet.acks)
        message_id = packet.message_id
        if message_id is None or message_id >= self._next_receive_id + RECEIVE_WINDOW:
            return []
        if packet.opcode in CLIENT_RESETS and message_id > self._next_receive_id:
            # RouterOS numbers its reset 1. In its turn that does no harm; early, it may not take a place in the stream.
            return []
        self._acknowledge(message_id)
        if message_id >= self._next_receive_id:
            self._early.setdefault(message_id, packet)
        return list(self._take_ordered())

    def packets_to_send(self, now: float) -> list[ControlPacket]:
        """Return what must leave now: new messages, repeated ones, and acknowledgements."""
        self._fill_window()
        packets = []
        for message in self._in_flight.values():
            if message.urgent:
                self._mark_sent(message, now)
                acks = self._take_acks(_ACKS_BESIDE_MESSAGE)
                packets.append(self._build(message.opcode, acks, message.message_id, message.payload))
        while self._pending_acks:
            packets.append(self._build(Opcode.ACK_V1, self._take_acks(MAX_ACKS), None, b""))
        return packets

    def get_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called; None while nothing waits for an acknowledgement."""
        if self._reliable_transport or not self._in_flight:
            return None
        return min([message.due for message in self._in_flight.values()])

    def handle_timer(self, now: float) -> None:
        """Send again, with the next `packets_to_send`, what was not acknowledged in time; wait twice as long."""
        if self._reliable_transport:
            return
        for message in self._in_flight.values():
            if not message.urgent and message.due <= now:
                message.urgent = True
                message.timeout_s = min(message.timeout_s * 2, _MAX_TIMEOUT_S)

    def _check_addressed_untrusted(self, packet: ControlPacket) -> None:
        if packet.key_id != self._key_id:
            raise BadPacket(f"a control packet of key id {packet.key_id} came to key id {self._key_id}")
        if packet.acks and packet.remote_session_id != self._session_id:
            raise BadPacket("the packet acknowledges another session")
        if self.remote_session_id is None and packet.acks:
            self.remote_session_id = packet.session_id
        if packet.session_id != self.remote_session_id:
            raise BadPacket("the packet is from another session")

    def _process_acks(self, acks: Iterable[int]) -> None:
        """Forget what was acknowledged. Ids that are not in flight are repetitions, and mean nothing."""
        for message_id in acks:
            if self._in_flight.pop(message_id, None) is None:
                continue
            for message in self._in_flight.values():
                if message.message_id < message_id:
                    self._count_later_ack(message)

    def _count_later_ack(self, message: _Outgoing) -> None:
        message.later_acks += 1
        if message.later_acks >= _FAST_RETRANSMIT_ACKS and not self._reliable_transport:
            message.later_acks = 0
            message.urgent = True

    def _acknowledge(self, message_id: int) -> None:
        """Note an id to acknowledge. Where too many wait, the sender's next repetition is acknowledged."""
        if message_id not in self._pending_acks and len(self._pending_acks) < _MAX_PENDING_ACKS:
            self._pending_acks.append(message_id)

    def _take_ordered(self) -> Iterator[ControlPacket]:
        while (packet := self._early.pop(self._next_receive_id, None)) is not None:
            self._next_receive_id += 1
            yield packet

    def _fill_window(self) -> None:
        """Let messages into the window. It is one of ids, not of a count: the peer's buffer is one, too."""
        while self._queue:
            message = self._queue[0]
            oldest = next(iter(self._in_flight), message.message_id)
            if message.message_id >= oldest + SEND_WINDOW:
                return
            self._in_flight[message.message_id] = self._queue.pop(0)

    def _mark_sent(self, message: _Outgoing, now: float) -> None:
        message.urgent = False
        message.due = now + message.timeout_s

    def _take_acks(self, limit: int) -> tuple[int, ...]:
        """Take the ids to acknowledge in one packet: those that wait, then recent ones once more."""
        fresh = self._pending_acks[:limit]
        del self._pending_acks[:limit]
        repeated = [message_id for message_id in self._recent_acks if message_id not in fresh]
        acks = (*fresh, *repeated[: limit - len(fresh)])
        self._recent_acks = (*fresh, *repeated)[:MAX_ACKS]
        return acks

    def _build(self, opcode: Opcode, acks: tuple[int, ...], message_id: int | None, payload: bytes) -> ControlPacket:
        remote_session_id = self.remote_session_id if acks else None
        return ControlPacket(opcode, self._key_id, self._session_id, acks, remote_session_id, message_id, payload)
