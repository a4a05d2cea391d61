"""A daemon's worth of host networking inside a namespace, driven by a test: the far half of `lab.Daemon`.

Reads pickled requests from standard input, a method's name and its arguments each, and answers each with a pickled
result or exception. It owns the TUN devices, so that they vanish with it, as they do with the gateway.
"""

from __future__ import annotations

import pickle
import socket
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytun
import trio

from gateway.hostnet import Device, HostNetwork, HostProblem, read_host_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from policy import EndpointSpec, HostFacts

FLOOD_BURST = 5
FLOOD_PAUSE_S = 0.0001
PATIENCE_S = 20
"""For what must come; nothing is concluded from its passing but failure."""


class Agent:
    """The methods that a test may call."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._network = HostNetwork("unopened")
        self._tuns: dict[Device, pytun.TunTapDevice] = {}
        self._reports: list[tuple[HostProblem, ...]] = []
        self._noticed = 0
        self._flooding = threading.Event()
        self._flood = threading.Thread()

    async def open(self, daemon_id: str) -> None:
        self._network = HostNetwork(daemon_id)
        await self._network.open()

    async def make_tun(self) -> Device:
        tun = pytun.TunTapDevice(name="portway%d", flags=pytun.IFF_TUN | pytun.IFF_NO_PI)
        device = Device(tun.name, socket.if_nametoindex(tun.name))
        self._tuns[device] = tun
        return device

    async def add(self, device: Device, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        return await self._network.add_endpoint(device, spec)

    async def update(self, name: str, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        return await self._network.update_endpoint(name, spec)

    async def remove(self, name: str) -> None:
        await self._network.remove_endpoint(name)

    async def close_tun(self, device: Device) -> None:
        self._tuns.pop(device).close()

    async def reconcile(self) -> tuple[HostProblem, ...]:
        return await self._network.reconcile()

    async def watch(self) -> None:
        self._nursery.start_soon(self._network.watch, self._reports.append, self._notice)

    def _notice(self) -> None:
        self._noticed += 1

    async def noticed(self) -> int:
        """How many changes of the host the watch has told of so far."""
        return self._noticed

    async def reports(self) -> list[tuple[HostProblem, ...]]:
        """What the watch has reported so far."""
        return self._reports

    async def closed(self) -> tuple[str, ...]:
        return self._network.closed

    async def close(self) -> None:
        await self._network.close()

    async def facts(self) -> HostFacts:
        return await self._network.facts()

    async def other_facts(self) -> HostFacts:
        return await trio.to_thread.run_sync(read_host_facts)

    async def inject(self, device: Device, packet: bytes) -> None:
        self._tuns[device].write(packet)

    async def begin_flood(self, device: Device, packets: tuple[bytes, ...]) -> None:
        """Let a client send packets in turns, some ten thousand a second, until `end_flood`."""
        self._flooding.set()
        self._flood = threading.Thread(target=self._send_in_turns, args=(self._tuns[device], packets), daemon=True)
        self._flood.start()

    async def end_flood(self) -> None:
        self._flooding.clear()
        self._flood.join()

    def _send_in_turns(self, tun: pytun.TunTapDevice, packets: tuple[bytes, ...]) -> None:
        while self._flooding.is_set():
            for packet in FLOOD_BURST * packets:
                tun.write(packet)
            time.sleep(FLOOD_PAUSE_S)

    async def receive(self, device: Device) -> bytes:
        """The next IPv4 packet that the host sends into the tunnel."""
        with trio.fail_after(PATIENCE_S):
            while True:
                await trio.lowlevel.wait_readable(self._tuns[device].fileno())
                packet: bytes = self._tuns[device].read(65535)
                if packet[0] >> 4 == 4:
                    return packet


async def _serve() -> None:
    async with trio.open_nursery() as nursery:
        agent = Agent(nursery)
        load: Callable[[], tuple[str, tuple[Any, ...]]] = partial(pickle.load, sys.stdin.buffer)
        while True:
            try:
                method, arguments = await trio.to_thread.run_sync(load, abandon_on_cancel=True)
            except EOFError:
                nursery.cancel_scope.cancel()
                return
            _answer(await _carry_out(agent, method, arguments))


async def _carry_out(agent: Agent, method: str, arguments: tuple[Any, ...]) -> object:
    try:
        return await getattr(agent, method)(*arguments)
    except Exception as error:  # noqa: BLE001 - it is the test that has to see it
        return _Failure(error)


class _Failure:
    def __init__(self, error: Exception) -> None:
        self.kind = type(error).__name__
        self.text = str(error)


def _answer(result: object) -> None:
    failed = isinstance(result, _Failure)
    answer = (result.kind, result.text) if isinstance(result, _Failure) else result
    pickle.dump((failed, answer), sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    trio.run(_serve)
