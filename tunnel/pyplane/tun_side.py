"""The TUN device: draining it in batches, and writing to it.

Owns the trains of this turn: what `joining` has put together goes out in one write each at the end of the turn, or
earlier where a packet of the same flow cannot be joined, so that each flow keeps its order. Knows no keys.

Buffers: each read makes one `bytes` that holds one packet. (Reading into a buffer made once measures slower, 1.28
against 0.97 µs, because the packet has to be cut out of it.) A packet to be written is kept until the end of the turn.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from tunnel.plane import Drop
from tunnel.pyplane.joining import Train, flow_of, is_whole, may_begin
from tunnel.tun_offload import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnel.pyplane.counters import DropCounters
    from tunnel.pyplane.peers import PeerRecord
    from tunnel.tun import TunDevice

__all__ = ["TunSide"]

_LARGEST: Final = 65_545
"""The largest packet, and the header before it."""
_TCP: Final = 6
_write = os.write


class TunSide:
    """One open device."""

    __slots__ = ("_counters", "_device", "_header", "_joins", "trains")

    def __init__(self, device: TunDevice, counters: DropCounters) -> None:
        self._device = device
        self._counters = counters
        self._header = PLAIN if device.offload else b""
        self._joins = device.offload
        self.trains: dict[bytes, Train] = {}
        """What waits to be written, by flow. Look here first, and `Train.extend`; `write` knows the rest."""

    def drain(self, take: Callable[[bytes], None], budget: int) -> bool:
        """Take up to `budget` packets that the host routed into the tunnel. Whether there may be more.

        Raises OSError when somebody has deleted the device: without it the plane cannot go on.
        """
        fd, read, header_size = self._device.fd, os.read, len(self._header)
        for _ in range(budget):
            try:
                packet = read(fd, _LARGEST)
            except BlockingIOError:
                return False
            except OSError as error:
                raise self._device.gone(error.errno or errno.EIO) from error
            if not packet:
                raise self._device.gone(errno.ENODEV)
            take(packet[header_size:])
        return True

    def write(self, peer: PeerRecord, packet: bytes) -> None:
        """Take a sound packet of a client for the host: now, or with what follows in this turn."""
        if self._joins and packet[9] == _TCP:
            if self.trains:
                self._make_way(packet)
            if may_begin(packet):
                self.trains[flow_of(packet)] = Train(peer, packet)
                return
        try:
            _write(self._device.fd, self._header + packet)
        except OSError:
            self._counters.drop(Drop.TUN_REFUSED, peer)
            return
        peer.ingress_packets += 1
        peer.ingress_bytes += len(packet)

    def flush(self) -> None:
        """Write what still waits."""
        if self.trains:
            trains, self.trains = self.trains, {}
            for train in trains.values():
                self._write_train(train)

    def _make_way(self, packet: bytes) -> None:
        """Write what must be written before this packet: its own flow's train, or all when its flow is unknown."""
        if not is_whole(packet):
            self.flush()
        elif (train := self.trains.pop(flow_of(packet), None)) is not None:
            self._write_train(train)

    def _write_train(self, train: Train) -> None:
        peer, packets = train.peer, train.packets
        if len(packets) == 1 or not train.is_intact():
            self._write_singly(peer, packets)
            return
        try:
            os.writev(self._device.fd, train.pieces())
        except OSError as error:
            # Not a kernel that was asked for this feature and gave it, but something between us and it.
            self._joins = error.errno != errno.EINVAL
            self._write_singly(peer, packets)
            return
        peer.ingress_packets += len(packets)
        peer.ingress_bytes += sum(map(len, packets))

    def _write_singly(self, peer: PeerRecord, packets: list[bytes]) -> None:
        for packet in packets:
            try:
                _write(self._device.fd, self._header + packet)
            except OSError:
                self._counters.drop(Drop.TUN_REFUSED, peer)
                continue
            peer.ingress_packets += 1
            peer.ingress_bytes += len(packet)
