"""The native data plane behind `tunnel.plane.DataPlane`: the core's threads move packets, this tells them what to do.

Owns sockets, device and the core, and hands up what the core reports. One task waits for reports, one accepts TCP
streams; no packet of data is ever seen here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

import trio

from tunnel.nativeplane import _core
from tunnel.nativeplane._core import CONTROL_SOCKETS
from tunnel.nativeplane.access import NativeTables
from tunnel.nativeplane.paths import NO_STREAM, UdpPaths, stream_path
from tunnel.nativeplane.peers import (
    KnownPeer,
    key_arguments,
    key_state,
    milliseconds,
    peer_arguments,
    progress,
    totals,
    traffic,
)
from tunnel.nativeplane.priority import behind_workers
from tunnel.nativeplane.streams import NativeStreams
from tunnel.plane import DataPlane, Drop, PeerState, PlaneFacts, Transport
from tunnel.sockets import open_listener, open_udp_group
from tunnel.tun import TunDevice, open_tun

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from tunnel.data_keys import DataKey
    from tunnel.nativeplane.paths import NativePath
    from tunnel.plane import AccessTable, Path, Peer, PlaneEvents, Traffic
    from tunnel.plane_settings import PlaneSettings

__all__ = ["MOST_WORKERS", "NativeDataPlane"]

MOST_WORKERS: Final = _core.MOST_WORKERS
_REPORTS_AT_ONCE: Final = 16
"""Then other tasks get their turn: a control packet may cost 0.4 ms."""
_TAG_UNIT: Final = 1 << 24
_TAGS: Final = 256

if tuple(drop.value for drop in Drop) != _core.DROPS:
    raise ImportError("the native core was compiled from other sources than these: build it again")


class NativeDataPlane(DataPlane):
    """One endpoint's data plane with threads of its own."""

    def __init__(
        self,
        settings: PlaneSettings,
        device: TunDevice,
        udp: Sequence[socket.socket],
        listener: socket.socket | None,
    ) -> None:
        """Takes over a device and sockets that are open; `open` makes them. Raises OSError where the core cannot."""
        self.device = device
        """The TUN device: whoever configures the host needs its name and index."""
        self._udp = tuple(udp)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._core = _make_core(settings, device, self._udp, self._wake)
        except BaseException:
            os.close(self._wake)
            raise
        self._paths = UdpPaths(settings.listen)
        self._tables = NativeTables(self._core, settings.network, settings.gateway)
        self._streams = NativeStreams(self._core, listener, settings.streams) if listener else None
        self._peers: dict[int, KnownPeer] = {}
        self._tags = itertools.count()
        self._answers: list[tuple[NativePath, bytes]] | None = None
        """What is to be sent over UDP when the reports have been said that are being said now."""
        self._is_closed = False

    @classmethod
    def open(cls, settings: PlaneSettings, *, open_device: Callable[..., TunDevice] = open_tun) -> Self:
        """Bind the sockets and create the device, or touch nothing.

        Raises OSError with a sentence: which address and port is taken, or what /dev/net/tun lacks.
        """
        with contextlib.ExitStack() as undo:
            port, listener = settings.port, None
            udp: list[socket.socket] = []
            if Transport.UDP in settings.transports:
                sockets = settings.workers + CONTROL_SOCKETS
                udp = [undo.enter_context(sock) for sock in open_udp_group(settings.listen, port, sockets)]
                port = udp[0].getsockname()[1]
            if Transport.TCP in settings.transports:
                listener = undo.enter_context(open_listener(settings.listen, port))
            device = open_device(settings.device_name, offload=settings.tun_offload, queues=settings.workers)
            undo.callback(device.close)
            plane = cls(settings, device, udp, listener)
            undo.pop_all()
        return plane

    @property
    def port(self) -> int:
        """The port that it listens on, also where the settings left it to the kernel."""
        sockets = (*self._udp, self._streams.sock) if self._streams else self._udp
        return int(sockets[0].getsockname()[1]) if sockets else 0

    def close(self) -> None:
        """Stop the workers, then close sockets and device. Idempotent; `run` does it at its end."""
        if self._is_closed:
            return
        self._is_closed = True
        self._core.stop()
        for sock in self._udp:
            sock.close()
        if self._streams:
            self._streams.sock.close()
        self.device.close()
        os.close(self._wake)

    async def run(self, events: PlaneEvents, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move packets until cancelled, then close sockets and device."""
        try:
            with behind_workers(self._core.start):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hand_up_reports, events)
                    if self._udp:
                        nursery.start_soon(self._hand_up_datagrams, events, self._udp[-1])
                    if self._streams:
                        nursery.start_soon(self._streams.run, events)
                    task_status.started()
        finally:
            self.close()
            for path in self._streams.end_all() if self._streams else ():
                events.stream_closed(path)

    # Reports

    async def _hand_up_reports(self, events: PlaneEvents) -> None:
        """Say what the workers report, until cancelled. Raises OSError when the device is gone."""
        while True:
            await trio.lowlevel.wait_readable(self._wake)
            # Before the rings are looked at: what comes after that wakes this up again.
            os.eventfd_read(self._wake)
            await self._hand_up(events)

    async def _hand_up_datagrams(self, events: PlaneEvents, sock: socket.socket) -> None:
        """Say what clients have to say to control over UDP, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(sock)
            await self._hand_up(events)

    async def _hand_up(self, events: PlaneEvents) -> None:
        """Say all that there is to say now. At its end this lets nobody else run: whoever waits for more does."""
        while len(reports := self._core.take_events(_REPORTS_AT_ONCE)) == _REPORTS_AT_ONCE:
            self._report_all(events, reports)
            await trio.lowlevel.checkpoint()
        self._report_all(events, reports)

    def _report_all(self, events: PlaneEvents, reports: Sequence[_core.Event]) -> None:
        """Say these reports. What they are answered with leaves at the end: who carries it on is woken once for all."""
        answers: list[tuple[NativePath, bytes]] = []
        self._answers = answers
        try:
            for kind, number, path, packet in reports:
                self._report(events, _core.EVENTS[kind], number, path, packet)
        finally:
            self._answers = None
            for native, packet in answers:
                self._core.send_control(native, packet)

    def _report(self, events: PlaneEvents, kind: str, number: int, path: NativePath, packet: bytes) -> None:
        if kind == "control":
            self._report_control(events, path, packet)
        elif kind == "stream-ended":
            ended = self._streams.ended(path[-1]) if self._streams else None
            if ended:
                events.stream_closed(ended)
        elif kind == "failed":
            raise self.device.gone(number)
        else:
            self._report_peer(events, kind, number, path)

    def _report_peer(self, events: PlaneEvents, kind: str, name: int, path: NativePath) -> None:
        tag, peer_id = divmod(name, _TAG_UNIT)
        known = self._peers.get(peer_id)
        if known is None or known.tag != tag:
            return  # it was removed since
        if kind == "floated":
            events.peer_floated(peer_id, self._paths.to_path(path))
        elif kind == "idle":
            events.peer_idle(peer_id)
        elif kind == "exited":
            events.peer_exited(peer_id)
        elif kind == "worn":
            events.key_worn(peer_id)

    def _report_control(self, events: PlaneEvents, path: NativePath, packet: bytes) -> None:
        stream = path[-1]
        if not stream:
            events.control_received(self._paths.to_path(path), packet)
        elif self._streams and (known := self._streams.path(stream)):
            self._streams.keep(stream)
            events.control_received(known, packet)

    # What control says

    def add_peer(self, peer: Peer) -> None:
        """Let a client in; `ValueError` when its peer id or inside address is in use."""
        self._add(peer, None)

    def _add(self, peer: Peer, moved: Traffic | None) -> None:
        table, tag = self._tables.native(peer.access), next(self._tags) % _TAGS
        native = self._native(peer.path)
        moved_before = totals(moved) if moved else None
        self._core.add_peer(**peer_arguments(peer, native, table), tag=tag, moved=moved_before)
        self._peers[peer.peer_id] = KnownPeer(peer, table, tag)
        if self._streams and peer.path.transport is Transport.TCP:
            self._streams.prove(native[-1])

    def remove_peer(self, peer_id: int) -> Traffic:
        """Forget a client and its keys, and say what it moved. Its TCP stream stays open for control."""
        moved = self._core.remove_peer(peer_id)
        del self._peers[peer_id]
        return traffic(moved)

    def install_key(self, peer_id: int, key: DataKey) -> None:
        """Accept packets under this key from now on; replaces a key with the same key id."""
        keys = self._peers[peer_id].keys
        # To begin the same key anew would repeat its nonces.
        if keys.get(key.key_id) != key:
            self._core.install_key(**key_arguments(peer_id, key))
            keys[key.key_id] = key

    def activate_key(self, peer_id: int, key_id: int) -> None:
        """Send under this key from now on. The one before goes on to be accepted."""
        self._core.activate_key(peer_id, key_id)

    def drop_key(self, peer_id: int, key_id: int) -> None:
        """Accept packets under this key no longer; an id that is not there is ignored."""
        if self._peers[peer_id].keys.pop(key_id, None):
            self._core.drop_key(peer_id, key_id)

    def set_access(self, peer_id: int, access: AccessTable) -> None:
        """Replace what a peer may reach, from the next packet on."""
        known, table = self._peers[peer_id], self._tables.native(access)
        self._core.set_access(peer_id, table.native)
        known.peer, known.table = replace(known.peer, access=access), table

    def export_peer(self, peer_id: int) -> PeerState:
        """Take a client out, with all that another plane needs to go on with it."""
        path, sending, moved, keys = self._core.freeze_peer(peer_id)
        known = self._peers.pop(peer_id)
        peer = known.peer
        if peer.path.transport is Transport.UDP:
            peer = replace(peer, path=self._paths.to_path(path))
        states = tuple(key_state(key, keys[key_id]) for key_id, key in known.keys.items())
        return PeerState(peer, states, sending if sending >= 0 else None, traffic(moved))

    def import_peer(self, state: PeerState) -> None:
        """Let in a client that another plane has exported."""
        peer_id = state.peer.peer_id
        self._add(state.peer, state.traffic)
        try:
            for key in state.keys:
                self._core.install_key(**key_arguments(peer_id, key.key), progress=progress(key))
                self._peers[peer_id].keys[key.key.key_id] = key.key
            if state.sending is not None:
                self._core.activate_key(peer_id, state.sending)
        except BaseException:
            self.remove_peer(peer_id)
            raise

    def send_control(self, path: Path, packets: Sequence[bytes]) -> None:
        """Send control packets, each in a datagram or frame of its own. A path that is gone is ignored."""
        if self._is_closed:
            return
        native = self._native(path)
        if self._answers is not None and path.transport is Transport.UDP:
            self._answers += [(native, packet) for packet in packets]
            return
        for packet in packets:
            self._core.send_control(native, packet)

    def close_stream(self, path: Path) -> None:
        """Close a TCP connection after what was handed to `send_control` has been written, or 5 s."""
        self._core.close_stream(self._native(path)[-1])

    def _native(self, path: Path) -> NativePath:
        if path.transport is Transport.UDP:
            return self._paths.to_native(path)
        return self._streams.native(path) if self._streams else stream_path(NO_STREAM)

    # What it says

    def traffic(self, peer_id: int) -> Traffic:
        """What a peer has moved so far."""
        return traffic(self._core.traffic(peer_id))

    def drops(self) -> Mapping[Drop, int]:
        """All dropped packets of this plane, by cause, those of no peer included."""
        return dict(zip(Drop, self._core.drops(), strict=True))

    def facts(self) -> PlaneFacts:
        """What this plane is."""
        facts = self._core.facts()
        return PlaneFacts(
            "native",
            workers=facts["workers"],
            udp_gso=facts["udp_gso"],
            udp_gso_refused=facts["gso_refusals"] > 0,
            tun_tso=facts["tun_tso"],
            tun_uso=facts["tun_uso"],
            aead=facts["aead"],
            lost_control_packets=facts["lost_control_packets"],
            worker_cpu_s=tuple(cpu_ns / 1e9 for cpu_ns in facts["cpu_ns"]),
        )


def _make_core(settings: PlaneSettings, device: TunDevice, udp: Sequence[socket.socket], wake: int) -> _core.Plane:
    return _core.Plane(
        workers=settings.workers,
        network=int(settings.network.network_address),
        prefix=settings.network.prefixlen,
        gateway=int(settings.gateway),
        mtu=settings.mtu,
        udp_offload=settings.udp_offload,
        tun_offload=settings.tun_offload,
        worn_packets=settings.wear.packets,
        worn_octets=settings.wear.octets,
        backlog=settings.streams.backlog_octets,
        control_backlog=settings.streams.control_backlog_octets,
        close_timeout_ms=milliseconds(settings.streams.close_timeout_s),
        udp=[sock.fileno() for sock in udp],
        tun=device.fds,
        wake=wake,
    )
