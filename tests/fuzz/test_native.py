"""The native core meets octets from outside: each entry point under sanitizers, guided by coverage.

Bounded in `make test`; `make fuzz` goes on for longer. What is found is left in the directory that the message names.
"""

from __future__ import annotations

import itertools
import random
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw

from tests.conftest import FUZZ_EXAMPLES
from tests.unit.tunnel.nativeplane.library import CORE

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(__file__).parents[1] / "native" / "fuzz"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
FLAGS = ("-std=gnu11", "-O1", "-g", "-pthread", "-DOCTETS_TRAP", f"-I{CORE}")
SHORT_S, LONG_S = 8, 600
HERE, THERE = "10.80.0.7", "192.0.2.1"


def seconds() -> int:
    """How long each target runs: the profile that `make fuzz` chooses asks for more."""
    return LONG_S if settings.default is not None and settings.default.max_examples >= FUZZ_EXAMPLES else SHORT_S


def build(target: str, directory: Path) -> Path:
    """The driver and one target. Only the core is instrumented for coverage: what the driver itself does is no news."""
    core = sorted(CORE.glob("*.c"))
    objects = [compile_one(path, directory, "-fsanitize-coverage=trace-pc") for path in core]
    objects += [compile_one(SOURCES / name, directory) for name in ("driver.c", "rig.c", f"{target}.c")]
    binary = directory / target
    run("cc", *FLAGS, *SANITIZE, "-o", str(binary), *objects, "-lcrypto")
    return binary


def compile_one(source: Path, directory: Path, *flags: str) -> str:
    target = str(directory / f"{source.stem}.o")
    run("cc", *FLAGS, *SANITIZE, *flags, "-c", "-o", target, str(source))
    return target


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def packets(source: str, destination: str) -> list[bytes]:
    """Inner packets of every kind that the plane tells apart."""
    ip = IP(src=source, dst=destination, id=7)
    plain = IP(src=source, dst=destination, flags="DF", id=7)
    options = IP(src=source, dst=destination, options=[b"\x07\x04\x04\x00"])
    syn = TCP(sport=40000, dport=443, flags="S", seq=1, options=[("MSS", 1460), ("NOP", None), ("WScale", 7)])
    data = [TCP(sport=40000, dport=443, flags="A", seq=1 + 1000 * n, ack=9) / Raw(bytes(1000)) for n in range(4)]
    last = TCP(sport=40000, dport=443, flags="PA", seq=4001, ack=9) / Raw(bytes(300))
    datagrams = [UDP(sport=5000, dport=53) / Raw(bytes(size)) for size in (500, 500, 500, 20)]
    made = [
        plain / syn,
        ip / ICMP(),
        options / syn,
        ip / data[0],
        *(plain / part for part in [*data, last, *datagrams]),
    ]
    made.append(IP(src=source, dst=destination, flags="MF", frag=0) / UDP(sport=1, dport=2) / Raw(bytes(40)))
    made.append(IP(src=source, dst=destination, frag=5) / Raw(bytes(40)))
    return [bytes(packet) for packet in made]


def records(kind: int, parts: list[bytes]) -> bytes:
    return b"".join(bytes([kind]) + len(part).to_bytes(2, "big") + part for part in parts)


def inner_payloads() -> list[bytes]:
    ping = bytes.fromhex("2a187bf3641eb4cb07ed2d0a981fc748")
    leaving = bytes.fromhex("287f346bd4ef7a812d56b8d3afc5459c06")
    elsewhere = [packets(HERE, to)[0] for to in ("10.80.0.8", "10.80.0.1", "198.51.100.1", "224.0.0.1", "10.80.0.255")]
    return [*packets(HERE, THERE), *packets("10.80.0.8", THERE), *elsewhere, ping, leaving, b"\x60" + bytes(40)]


def outer_packets() -> list[bytes]:
    opcodes = [bytes([opcode << 3]) + bytes(40) for opcode in range(12)]
    return [
        *opcodes,
        b"\x48\0\0\x07",
        b"\x48\0\0\x07" + bytes(30),
        b"\x48\xff\xff\xff" + bytes(30),
        b"\x30" + bytes(30),
    ]


def frames() -> Iterator[bytes]:
    """What a device with virtio headers gives: whole packets, with a checksum to finish, and segments to cut."""
    for packet in packets(THERE, HERE):
        yield bytes(10) + packet
        yield struct.pack("=BBHHHH", 1, 0, 0, 0, 20, 16) + packet
    tcp = IP(src=THERE, dst=HERE, flags="DF") / TCP(sport=443, dport=40000, flags="PA", seq=1) / Raw(bytes(5000))
    udp = IP(src=THERE, dst=HERE, flags="DF") / UDP(sport=443, dport=40000) / Raw(bytes(5000))
    yield struct.pack("=BBHHHH", 1, 1, 40, 1360, 20, 16) + bytes(tcp)
    yield struct.pack("=BBHHHH", 1, 1 | 0x80, 40, 1360, 20, 16) + bytes(tcp)
    yield struct.pack("=BBHHHH", 1, 5, 28, 1200, 20, 6) + bytes(udp)
    yield struct.pack("=BBHHHH", 1, 3, 28, 1200, 20, 6) + bytes(udp)


def seeds(target: str) -> list[bytes]:
    payloads, outer = inner_payloads(), outer_packets()
    if target == "fuzz_frame":
        return list(frames())
    together = [records(1, packets(HERE, THERE)), records(0, outer), records(1, payloads)]
    return [*together, *(records(1, [payload]) for payload in payloads), *(records(2, [packet]) for packet in outer)]


@pytest.mark.parametrize("target", ["fuzz_datagram", "fuzz_frame", "fuzz_stream"])
def test_whatever_comes_from_outside_breaks_nothing(target: str, tmp_path: Path) -> None:
    binary = build(target, tmp_path)
    names = []
    for number, seed in zip(itertools.count(), seeds(target), strict=False):
        names.append(f"seed-{number}")
        (tmp_path / names[-1]).write_bytes(seed)
    chance = random.randrange(1 << 32)
    command = [str(binary), str(seconds()), str(chance), *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} in {tmp_path} (what it failed on: `current`)\n{done.stderr}"
    places = int(done.stdout.split()[-3])
    assert places > 100, f"the target has reached next to nothing: {done.stdout}"
