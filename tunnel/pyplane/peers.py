"""The peers of a plane: who they are, where they are, their keys, and what they moved.

Owns the mutable state of each peer and the indexes over all of them. Moves no packets and reads no clock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunnel.data_channel import opening_key, sealing_key
from tunnel.plane import Drop, KeyState, PeerState, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunnel.data_channel import OpeningKey, SealingKey, WearLimits
    from tunnel.data_keys import DataKey
    from tunnel.plane import Path, Peer
    from tunnel.pyplane.access import Access
    from tunnel.pyplane.streams import Stream
    from tunnel.pyplane.udp_address import Source

__all__ = ["PeerRecord", "PeerTable"]


class PeerRecord:
    """One peer; the attributes that packets touch come first."""

    __slots__ = (
        "access",
        "answers",
        "drops",
        "egress_bytes",
        "egress_packets",
        "heard",
        "idle_reported",
        "ingress_bytes",
        "ingress_packets",
        "inside",
        "keys",
        "last_heard",
        "last_sent",
        "moves",
        "mss",
        "opening",
        "outbox",
        "peer",
        "peer_id",
        "sealing",
        "sending",
        "sent",
        "source",
        "stream",
        "worn_reported",
    )

    def __init__(self, peer: Peer, access: Access, now: float) -> None:
        self.peer = peer
        self.peer_id = peer.peer_id
        self.inside = peer.inside
        self.mss = peer.mss
        self.use_access(access)
        self.source: Source | None = None
        """Where a UDP peer is; None for TCP."""
        self.stream: Stream | None = None
        """Where a TCP peer is; None for UDP, and when its stream has ended."""
        self.sending: SealingKey | None = None
        self.outbox: list[bytes] = []
        """Sealed packets of this turn."""
        self.heard = self.sent = False
        """Whether something authentic arrived, or was sent, since the last tick."""
        self.ingress_packets = self.ingress_bytes = self.egress_packets = self.egress_bytes = 0

        self.keys: dict[int, DataKey] = {}
        self.opening: dict[int, OpeningKey] = {}
        self.sealing: dict[int, SealingKey] = {}
        self.last_heard = self.last_sent = now
        self.moves = 0
        """Changes of address since the last tick."""
        self.idle_reported = False
        self.worn_reported: set[int] = set()
        self.drops: dict[Drop, int] = {}

    def use_access(self, access: Access) -> None:
        """What the peer may reach, from the next packet on."""
        self.access = access
        self.answers = access.answers

    def traffic(self) -> Traffic:
        """A copy of the counters."""
        return Traffic(
            self.ingress_packets, self.ingress_bytes, self.egress_packets, self.egress_bytes, dict(self.drops)
        )

    def export(self, path: Path | None) -> PeerState:
        """All that another plane needs to go on with the peer, which is at `path` now, if not on its stream."""
        return PeerState(
            peer=self.peer if path is None else replace(self.peer, path=path),
            keys=tuple(map(self._key_state, self.keys.values())),
            sending=self.sending.key_id if self.sending else None,
            traffic=self.traffic(),
        )

    def _key_state(self, key: DataKey) -> KeyState:
        sealing, opening = self.sealing[key.key_id], self.opening[key.key_id]
        return KeyState(
            key,
            sealed_packets=sealing.packets,
            sealed_octets=sealing.octets,
            opened_octets=opening.octets,
            failures=opening.failures,
            greatest_opened=opening.packets,
            opened=opening.export_window(),
        )

    def resume(self, state: PeerState) -> None:
        """Go on where another plane stood with this peer, whose keys are installed already."""
        moved = state.traffic
        self.ingress_packets, self.ingress_bytes = moved.ingress_packets, moved.ingress_bytes
        self.egress_packets, self.egress_bytes = moved.egress_packets, moved.egress_bytes
        self.drops = dict(moved.drops)
        for key in state.keys:
            key_id = key.key.key_id
            self.sealing[key_id].resume(key.sealed_packets, key.sealed_octets)
            self.opening[key_id].resume(key.greatest_opened, key.opened, key.opened_octets, key.failures)
        self.sending = None if state.sending is None else self.sealing[state.sending]

    def worn_key(self, limits: WearLimits) -> int | None:
        """The id of the key in use, if it has become worn since the last call; replaced keys end by themselves."""
        if self.sending is None or self.sending.key_id in self.worn_reported:
            return None
        key_id = self.sending.key_id
        if not self.sending.is_worn(limits) and not self.opening[key_id].is_worn(limits):
            return None
        self.worn_reported.add(key_id)
        return key_id


class PeerTable:
    """All peers, found in one step by whatever a packet gives away."""

    __slots__ = ("by_head", "by_id", "by_inside", "by_source")

    def __init__(self) -> None:
        self.by_id: dict[int, PeerRecord] = {}
        self.by_head: dict[bytes, tuple[PeerRecord, OpeningKey]] = {}
        """By the first four octets of a DATA_V2 packet: opcode, key id and peer id at once."""
        self.by_inside: dict[bytes, PeerRecord] = {}
        self.by_source: dict[Source, PeerRecord] = {}

    def __iter__(self) -> Iterator[PeerRecord]:
        return iter(tuple(self.by_id.values()))

    def add(self, state: PeerRecord) -> None:
        """Let a peer in; `ValueError` when its id or inside address is in use.

        Its source may have belonged to another peer, which then had moved on unnoticed: the one who has just proved
        to be there gets it.
        """
        if state.peer_id in self.by_id or state.inside in self.by_inside:
            raise ValueError(f"peer {state.peer_id}: its id or inside address belongs to another peer")
        self.by_id[state.peer_id] = state
        self.by_inside[state.inside] = state
        if state.source is not None:
            self.by_source[state.source] = state

    def remove(self, peer_id: int) -> PeerRecord:
        """Forget a peer and its keys."""
        state = self.by_id.pop(peer_id)
        del self.by_inside[state.inside]
        self._leave(state)
        for key_id in tuple(state.keys):
            self.drop_key(state, key_id)
        # A turn that is under way may still hold sealed packets of this peer.
        state.outbox.clear()
        return state

    def move(self, state: PeerRecord, source: Source) -> None:
        """A UDP peer is at another address now."""
        self._leave(state)
        state.source = source
        self.by_source[source] = state

    def _leave(self, state: PeerRecord) -> None:
        """Free a peer's source, unless another has taken it over."""
        if state.source is not None and self.by_source.get(state.source) is state:
            del self.by_source[state.source]

    def install_key(self, state: PeerRecord, key: DataKey) -> None:
        """Accept packets under a key. The same key again is left alone: to begin anew would repeat its nonces."""
        if state.keys.get(key.key_id) == key:
            return
        opening = opening_key(key)
        sealing = sealing_key(key, peer_id=state.peer_id if state.peer.data_v2 else None)
        self.drop_key(state, key.key_id)
        state.keys[key.key_id] = key
        state.opening[key.key_id] = opening
        state.sealing[key.key_id] = sealing
        self.by_head[_head_of(key.key_id, state.peer_id)] = state, opening

    def drop_key(self, state: PeerRecord, key_id: int) -> None:
        """Forget a key; one that is not there is ignored."""
        if state.keys.pop(key_id, None) is None:
            return
        del state.opening[key_id]
        if state.sealing.pop(key_id) is state.sending:
            state.sending = None
        del self.by_head[_head_of(key_id, state.peer_id)]
        state.worn_reported.discard(key_id)


def _head_of(key_id: int, peer_id: int) -> bytes:
    """The first four octets of this peer's DATA_V2 packets under this key."""
    return bytes([9 << 3 | key_id]) + peer_id.to_bytes(3, "big")
