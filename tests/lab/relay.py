"""A bad path for UDP: `python -m tests.lab.relay --help`.

Datagrams from clients go on to the gateway, answers go back, and on the way some are lost, doubled or held so
that later ones overtake them. On SIGUSR1 every client goes on from a new port, or from the next of the `--via`
addresses: what a NAT does that has forgotten, or a laptop that changes networks. The same seed makes the same choices.
"""

from __future__ import annotations

import argparse
import itertools
import random
import signal
from collections import Counter
from dataclasses import dataclass, field

import trio

__all__ = ["Impairment", "main"]

Address = tuple[str, int]
LARGEST_DATAGRAM = 65535


@dataclass(frozen=True, slots=True)
class Impairment:
    """How bad the path is, each as a probability per datagram."""

    loss: float = 0
    duplicate: float = 0
    reorder: float = 0
    hold_s: float = 0.03
    """How late a reordered datagram or a double comes."""

    def copies(self, chance: random.Random) -> list[float]:
        """The delays of the copies that arrive: empty where the datagram is lost."""
        if chance.random() < self.loss:
            return []
        delays = [self.hold_s if chance.random() < self.reorder else 0.0]
        if chance.random() < self.duplicate:
            delays.append(self.hold_s)
        return delays


@dataclass
class Relay:
    """One listening socket toward the clients, one socket per client toward the gateway."""

    gateway: Address
    impairment: Impairment
    via: list[str]
    chance: random.Random
    inside: trio.socket.SocketType
    nursery: trio.Nursery
    outside: dict[Address, trio.socket.SocketType] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._addresses = itertools.cycle(self.via)
        self._current = next(self._addresses)

    async def run(self) -> None:
        """Carry what the clients send until cancelled."""
        while True:
            datagram, client = await self.inside.recvfrom(LARGEST_DATAGRAM)
            if client not in self.outside:
                self.outside[client] = await self._open(client)
            self._carry(self.outside[client], datagram, self.gateway)

    async def move(self) -> None:
        """Send on from other sockets than before."""
        self._current = next(self._addresses)
        for client, old in list(self.outside.items()):
            self.outside[client] = await self._open(client)
            old.close()

    async def _open(self, client: Address) -> trio.socket.SocketType:
        outside = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await outside.bind((self._current, 0))
        print(f"{client[0]}:{client[1]} goes on from {outside.getsockname()}", flush=True)
        self.nursery.start_soon(self._return, outside, client)
        return outside

    async def _return(self, outside: trio.socket.SocketType, client: Address) -> None:
        while True:
            try:
                datagram, _ = await outside.recvfrom(LARGEST_DATAGRAM)
            except (OSError, trio.ClosedResourceError):
                return
            self._carry(self.inside, datagram, client)

    def _carry(self, sender: trio.socket.SocketType, datagram: bytes, to: Address) -> None:
        delays = self.impairment.copies(self.chance)
        self.counts["lost" if not delays else "carried"] += 1
        for delay in delays:
            self.nursery.start_soon(self._send_later, delay, sender, datagram, to)

    async def _send_later(self, delay: float, sender: trio.socket.SocketType, datagram: bytes, to: Address) -> None:
        if delay:
            self.counts["held"] += 1
            await trio.sleep(delay)
        try:
            await sender.sendto(datagram, to)
        except (OSError, trio.ClosedResourceError):
            self.counts["refused"] += 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:1194", help="where clients send to")
    parser.add_argument("--gateway", required=True, help="where their datagrams go on to")
    parser.add_argument("--via", action="append", help="the address to send from; several are taken in turn")
    parser.add_argument("--seed", type=int, default=1)
    for name in ("loss", "duplicate", "reorder"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    return parser.parse_args()


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def _main(options: argparse.Namespace) -> None:
    with trio.open_signal_receiver(signal.SIGUSR1) as moves, trio.socket.socket(type=trio.socket.SOCK_DGRAM) as inside:
        await inside.bind(_address(options.listen))
        async with trio.open_nursery() as nursery:
            relay = Relay(
                gateway=_address(options.gateway),
                impairment=Impairment(options.loss, options.duplicate, options.reorder),
                via=options.via or ["0.0.0.0"],
                chance=random.Random(options.seed),
                inside=inside,
                nursery=nursery,
            )
            nursery.start_soon(relay.run)
            print("ready", flush=True)
            async for _ in moves:
                await relay.move()
                print(f"moved; so far {dict(relay.counts)}", flush=True)


def main() -> None:
    trio.run(_main, _arguments())


if __name__ == "__main__":
    main()
