"""The Python data plane: sockets, TUN device and peers put together behind `tunnel.plane.DataPlane`.

One task moves the packets of the UDP socket and the TUN device, in turns; each TCP stream has a task of its own; one
timer looks after all peers. A turn takes about 96 packets from each direction, sends what they became, and lets the
others run. Nothing on the way of a packet waits.
"""

from __future__ import annotations

import contextlib
import select
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

import trio

from tunnel.plane import DataPlane, PlaneFacts, Transport
from tunnel.pyplane.access import AccessTables
from tunnel.pyplane.counters import DropCounters
from tunnel.pyplane.egress import Egress
from tunnel.pyplane.ingress import Ingress
from tunnel.pyplane.peers import PeerRecord, PeerTable
from tunnel.pyplane.tcp_side import TcpSide
from tunnel.pyplane.timers import run_timers
from tunnel.pyplane.tun_side import TunSide
from tunnel.pyplane.udp_address import UdpAddresses
from tunnel.pyplane.udp_side import UdpSide
from tunnel.sockets import open_listener, open_udp
from tunnel.tun import TunDevice, open_tun

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from tunnel.data_keys import DataKey
    from tunnel.plane import AccessTable, Drop, Path, Peer, PeerState, PlaneEvents, Traffic
    from tunnel.plane_settings import PlaneSettings

__all__ = ["PythonDataPlane"]

_TURN: Final = 96
"""Packets per direction and turn: about half a millisecond, and two full `UDP_SEGMENT` sends or joined writes."""


class PythonDataPlane(DataPlane):
    """One endpoint's data plane on the trio loop."""

    def __init__(
        self,
        settings: PlaneSettings,
        device: TunDevice,
        udp: socket.socket | None,
        listener: socket.socket | None,
    ) -> None:
        """Takes over a device and sockets that are open; `open` makes them."""
        self._wear = settings.wear
        self.device = device
        """The TUN device: whoever configures the host needs its name and index."""
        self._peers = PeerTable()
        self._tables = AccessTables(settings.network, settings.gateway)
        self._counters = DropCounters()
        self._addresses = UdpAddresses(settings.listen)
        self._udp = UdpSide(udp, self._addresses, self._counters, offload=settings.udp_offload) if udp else None
        self._tcp = TcpSide(listener, settings.streams) if listener else None
        self._egress = Egress(self._peers, self._counters, self._udp)
        self._tun = TunSide(device, self._counters)
        self._ingress = Ingress(self._peers, self._counters, self._egress, self._tun, self._addresses, mtu=settings.mtu)

    @classmethod
    def open(cls, settings: PlaneSettings, *, open_device: Callable[..., TunDevice] = open_tun) -> Self:
        """Bind the sockets and create the device, or touch nothing.

        Raises OSError with a sentence: which address and port is taken, or what /dev/net/tun lacks.
        """
        with contextlib.ExitStack() as undo:
            port, udp, listener = settings.port, None, None
            if Transport.UDP in settings.transports:
                udp = undo.enter_context(open_udp(settings.listen, port))
                port = udp.getsockname()[1]
            if Transport.TCP in settings.transports:
                listener = undo.enter_context(open_listener(settings.listen, port))
            device = open_device(settings.device_name, offload=settings.tun_offload)
            undo.callback(device.close)
            plane = cls(settings, device, udp, listener)
            undo.pop_all()
        return plane

    @property
    def port(self) -> int:
        """The port that it listens on, also where the settings left it to the kernel."""
        side = self._udp or self._tcp
        return int(side.sock.getsockname()[1]) if side else 0

    def close(self) -> None:
        """Close sockets and device. Idempotent; `run` does it at its end."""
        for side in (self._udp, self._tcp):
            if side:
                side.sock.close()
        self.device.close()

    async def run(self, events: PlaneEvents, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move packets until cancelled, then close sockets and device."""
        self._ingress.events = events
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._move_packets)
                nursery.start_soon(run_timers, self._peers, self._egress, events, self._wear)
                if self._tcp:
                    nursery.start_soon(self._tcp.run, events, self._ingress.from_stream, self._flush)
                task_status.started()
        finally:
            self.close()

    async def _move_packets(self) -> None:
        """Take turns at the UDP socket and the device, waiting for both at once."""
        with select.epoll() as both:
            both.register(self.device.fileno(), select.EPOLLIN)
            if self._udp:
                both.register(self._udp.sock.fileno(), select.EPOLLIN)
            while True:
                await trio.lowlevel.wait_readable(both.fileno())
                while self._take_turn():
                    await trio.lowlevel.checkpoint()

    def _take_turn(self) -> bool:
        """Move one batch in each direction. Whether there may be more."""
        more = self._udp is not None and self._udp.drain(self._ingress.from_udp, _TURN)
        # The device first: the answers of a host nearby may be there already when it is drained.
        self._tun.flush()
        more |= self._tun.drain(self._egress.from_tun, _TURN)
        self._egress.flush()
        return more

    def _flush(self) -> None:
        """Send what a stream's packets have become."""
        self._tun.flush()
        self._egress.flush()

    def add_peer(self, peer: Peer) -> None:
        """Let a client in; `ValueError` when its peer id or inside address is in use."""
        state = PeerRecord(peer, self._tables.access(peer.access), trio.current_time())
        stream = None
        if peer.path.transport is Transport.UDP:
            state.source = self._addresses.source_of(peer.path)
        elif self._tcp:
            stream = state.stream = self._tcp.stream(peer.path)
        self._peers.add(state)
        if stream and self._tcp:
            if stream.peer:
                # Who was let in on the stream before has it no longer.
                stream.peer.stream = None
            stream.peer = state
            self._tcp.prove(stream)

    def remove_peer(self, peer_id: int) -> Traffic:
        """Forget a client and its keys, and say what it moved. Its TCP stream stays open for control."""
        state = self._peers.remove(peer_id)
        if state.stream:
            state.stream.peer = None
        return state.traffic()

    def install_key(self, peer_id: int, key: DataKey) -> None:
        """Accept packets under this key from now on; replaces a key with the same key id."""
        self._peers.install_key(self._peers.by_id[peer_id], key)

    def activate_key(self, peer_id: int, key_id: int) -> None:
        """Send under this key from now on. The one before goes on to be accepted."""
        state = self._peers.by_id[peer_id]
        state.sending = state.sealing[key_id]

    def drop_key(self, peer_id: int, key_id: int) -> None:
        """Accept packets under this key no longer; an id that is not there is ignored."""
        self._peers.drop_key(self._peers.by_id[peer_id], key_id)

    def set_access(self, peer_id: int, access: AccessTable) -> None:
        """Replace what a peer may reach, from the next packet on."""
        record = self._peers.by_id[peer_id]
        record.peer = replace(record.peer, access=access)
        record.use_access(self._tables.access(access))

    def export_peer(self, peer_id: int) -> PeerState:
        """Take a client out, with all that another plane needs to go on with it."""
        record = self._peers.by_id[peer_id]
        path = self._addresses.path_of(record.source) if record.source else None
        state = record.export(path)
        self.remove_peer(peer_id)
        return state

    def import_peer(self, state: PeerState) -> None:
        """Let in a client that another plane has exported."""
        peer_id = state.peer.peer_id
        self.add_peer(state.peer)
        try:
            for key in state.keys:
                self.install_key(peer_id, key.key)
            self._peers.by_id[peer_id].resume(state)
        except BaseException:
            self.remove_peer(peer_id)
            raise

    def send_control(self, path: Path, packets: Sequence[bytes]) -> None:
        """Send control packets, each in a datagram or frame of its own. A path that is gone is ignored."""
        if path.transport is Transport.UDP and self._udp:
            self._udp.send_control(path, packets)
        elif self._tcp and (stream := self._tcp.stream(path)):
            stream.send_control(packets)

    def close_stream(self, path: Path) -> None:
        """Close a TCP connection after what was handed to `send_control` has been written, or 5 s."""
        if self._tcp and (stream := self._tcp.stream(path)):
            stream.close()

    def facts(self) -> PlaneFacts:
        """What this plane is."""
        udp = self._udp
        if udp is None:
            return PlaneFacts("python", workers=1)
        return PlaneFacts("python", workers=1, udp_gso=udp.joins, udp_gso_refused=udp.joining_refused)

    def traffic(self, peer_id: int) -> Traffic:
        """What a peer has moved so far."""
        return self._peers.by_id[peer_id].traffic()

    def drops(self) -> Mapping[Drop, int]:
        """All dropped packets of this plane, by cause, those of no peer included."""
        return dict(self._counters.totals)
