"""The peers of a native plane as Python keeps them, and their keys and counters in the core's terms.

The core gives no key material back, so what an export needs is kept here. Knows no sockets and no events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tunnel.errors import LocalError
from tunnel.nativeplane import _core
from tunnel.plane import Drop, KeyState, Traffic

if TYPE_CHECKING:
    from tunnel.data_keys import DataKey
    from tunnel.nativeplane.access import NativeTable
    from tunnel.nativeplane.paths import NativePath
    from tunnel.plane import Peer

__all__ = ["KnownPeer", "key_arguments", "key_state", "milliseconds", "peer_arguments", "progress", "totals", "traffic"]

_CIPHERS: Final = {name: number for number, name in enumerate(_core.CIPHERS)}
_DIGESTS: Final = {name: number for number, name in enumerate(_core.DIGESTS)}
_MOST_MILLISECONDS: Final = 0xFFFF_FFFF


@dataclass(slots=True)
class KnownPeer:
    """A peer that the core has."""

    peer: Peer
    table: NativeTable
    """Kept for as long as the peer has it."""
    tag: int
    """Tells it, in reports, from an earlier peer of the same id, of which something may still be under way."""
    keys: dict[int, DataKey] = field(default_factory=dict)


def milliseconds(seconds: float) -> int:
    """A time as the core takes it; what is not nothing does not become nothing."""
    return min(math.ceil(seconds * 1000), _MOST_MILLISECONDS)


def peer_arguments(peer: Peer, path: NativePath, table: NativeTable) -> dict[str, Any]:
    """The keyword arguments of `_core.Plane.add_peer`."""
    return {
        "peer_id": peer.peer_id,
        "inside": int.from_bytes(peer.inside, "big"),
        "path": path,
        "access": table.native,
        "ping_interval_ms": milliseconds(peer.ping_interval_s),
        "idle_timeout_ms": milliseconds(peer.idle_timeout_s),
        "data_v2": peer.data_v2,
        "mss": peer.mss,
    }


def key_arguments(peer_id: int, key: DataKey) -> dict[str, Any]:
    """The keyword arguments of `_core.Plane.install_key`. Raises `LocalError` for a digest that nobody knows."""
    auth = _DIGESTS.get(key.auth, 0 if key.cipher.is_aead else None)
    if auth is None:
        raise LocalError(f"unknown HMAC digest {key.auth!r}; the CBC ciphers take {', '.join(_DIGESTS)}")
    return {
        "peer_id": peer_id,
        "key_id": key.key_id,
        "cipher": _CIPHERS[key.cipher.value],
        "auth": auth,
        "send": (key.send.cipher, key.send.hmac),
        "receive": (key.receive.cipher, key.receive.hmac),
    }


def traffic(native: _core.Totals) -> Traffic:
    """What a peer has moved."""
    ingress_packets, ingress_octets, egress_packets, egress_octets, *drops = native
    by_cause = {cause: count for cause, count in zip(Drop, drops, strict=True) if count}
    return Traffic(ingress_packets, ingress_octets, egress_packets, egress_octets, by_cause)


def totals(moved: Traffic) -> _core.Totals:
    """The same in the core's terms."""
    counters = (moved.ingress_packets, moved.ingress_bytes, moved.egress_packets, moved.egress_bytes)
    return *counters, *(moved.drops.get(cause, 0) for cause in Drop)


def key_state(key: DataKey, native: _core.Progress) -> KeyState:
    """Where a key stands, of what the core says."""
    sealed_packets, sealed_octets, opened_octets, failures, greatest, window = native
    bits = _bits(int.from_bytes(window, "little"))
    # The core keeps a packet id at its remainder; a state lists ids downwards from the greatest.
    newest = _core.REPLAY_WINDOW - 1 - greatest % _core.REPLAY_WINDOW
    opened = _octets(bits[newest:] + bits[:newest])
    return KeyState(key, sealed_packets, sealed_octets, opened_octets, failures, greatest, opened)


def progress(state: KeyState) -> _core.Progress:
    """The same in the core's terms; what the state leaves open counts as accepted."""
    size = _core.REPLAY_WINDOW // 8
    bits = _bits(int.from_bytes(state.opened[:size].ljust(size, b"\xff"), "big"))
    newest = state.greatest_opened % _core.REPLAY_WINDOW + 1
    window = int(bits[newest:] + bits[:newest], 2).to_bytes(size, "little")
    return (
        state.sealed_packets,
        state.sealed_octets,
        state.opened_octets,
        state.failures,
        state.greatest_opened,
        window,
    )


def _bits(number: int) -> str:
    """A replay window's bits, the most significant first."""
    return f"{number:0{_core.REPLAY_WINDOW}b}"


def _octets(bits: str) -> bytes:
    return int(bits, 2).to_bytes(_core.REPLAY_WINDOW // 8, "big")
