# The native core, as Python sees it: `core/module.c`. What everything means is said in `core/plane.h`.
#
# Numbers out of range are `ValueError`, unknown peers and keys `KeyError`, what the system refuses is `OSError` with a
# sentence. Addresses are numbers in host order; times are milliseconds. All calls come from one thread.

from collections.abc import Sequence
from typing import Final, TypeAlias, TypedDict, final

from tunnel.nativeplane.paths import NativePath

CIPHERS: Final[tuple[str, ...]]
DIGESTS: Final[tuple[str, ...]]
EVENTS: Final[tuple[str, ...]]
DROPS: Final[tuple[str, ...]]
MOST_WORKERS: Final[int]
# The UDP sockets that control reads itself: the last of `udp`, behind one for each worker.
CONTROL_SOCKETS: Final[int]
REPLAY_WINDOW: Final[int]

# Ingress packets, ingress octets, egress packets, egress octets, and the drops in the order of `DROPS`.
Totals: TypeAlias = tuple[int, ...]
# Sealed packets, sealed octets, opened octets, failures, greatest packet id opened, and the replay window: bit
# `id % REPLAY_WINDOW`, the least significant of the first octet being bit 0.
Progress: TypeAlias = tuple[int, int, int, int, int, bytes]
# Its kind in the order of `EVENTS`, the peer id and above its 24 bits the tag (or an errno), the path, the packet.
Event: TypeAlias = tuple[int, int, NativePath, bytes]

class Facts(TypedDict):
    workers: int
    tun_queues: int
    udp_gso: bool
    tun_tso: bool
    tun_uso: bool
    aead: str
    gso_refusals: int
    lost_control_packets: int
    batches: tuple[int, ...]
    cpu_ns: tuple[int, ...]

@final
class AccessTable:
    def verdict(self, destination: int, /) -> int: ...

@final
class Plane:
    def __new__(
        cls,
        *,
        workers: int,
        network: int,
        prefix: int,
        gateway: int,
        mtu: int,
        udp_offload: bool,
        tun_offload: bool,
        worn_packets: int,
        worn_octets: int,
        backlog: int,
        control_backlog: int,
        close_timeout_ms: int,
        udp: Sequence[int],
        tun: Sequence[int],
        wake: int,
    ) -> Plane: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def access_table(self, starts: bytes, verdicts: bytes, gateway: int, broadcast: int, /) -> AccessTable: ...
    def add_peer(
        self,
        peer_id: int,
        inside: int,
        path: NativePath,
        access: AccessTable,
        ping_interval_ms: int,
        idle_timeout_ms: int,
        data_v2: bool,
        mss: int,
        tag: int = 0,
        moved: Totals | None = None,
    ) -> None: ...
    def remove_peer(self, peer_id: int, /) -> Totals: ...
    def install_key(
        self,
        peer_id: int,
        key_id: int,
        cipher: int,
        auth: int,
        send: tuple[bytes, bytes],
        receive: tuple[bytes, bytes],
        progress: Progress | None = None,
    ) -> None: ...
    def activate_key(self, peer_id: int, key_id: int, /) -> None: ...
    def drop_key(self, peer_id: int, key_id: int, /) -> None: ...
    def set_access(self, peer_id: int, access: AccessTable, /) -> None: ...
    def traffic(self, peer_id: int, /) -> Totals: ...
    # Where the peer was, the key id that it was sent to under (-1: none), what it moved, and its keys by id.
    def freeze_peer(self, peer_id: int, /) -> tuple[NativePath, int, Totals, dict[int, Progress]]: ...
    def send_control(self, path: NativePath, packet: bytes, /) -> None: ...
    def add_stream(self, fd: int, path: NativePath, /) -> None: ...
    def close_stream(self, stream: int, /) -> None: ...
    def abort_stream(self, stream: int, /) -> None: ...
    def forget_stream(self, stream: int, /) -> None: ...
    def take_events(self, most: int, /) -> list[Event]: ...
    def drops(self) -> tuple[int, ...]: ...
    def facts(self) -> Facts: ...
