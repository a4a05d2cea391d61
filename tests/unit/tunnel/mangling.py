"""Ways to damage a packet, for tests that must show what a parser makes of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["mangled", "mutations", "truncations"]


def truncations(packet: bytes) -> Iterator[bytes]:
    """Cut it at every octet, from nothing at all to all but the last."""
    for size in range(len(packet)):
        yield packet[:size]


def mutations(packet: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Change some octets, insert some, remove some: always the same for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        octets = bytearray(packet)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(octets) + 1)
            match dice.randrange(3):
                case 0:
                    octets[place : place + 1] = dice.randbytes(1)
                case 1:
                    octets[place:place] = dice.randbytes(dice.randint(1, 8))
                case _:
                    del octets[place : place + dice.randint(1, 8)]
        yield bytes(octets)


def mangled(packet: bytes, count: int = 2000) -> Iterator[bytes]:
    """Everything above."""
    yield from truncations(packet)
    yield from mutations(packet, count)
