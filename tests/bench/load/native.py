"""The load client's C part: compiling it together with the core's files, and calling it.

ctypes lets go of the interpreter's lock for the length of a call, and hands over the sockets and keys of this process.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from tunnel.data_keys import Cipher

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from tests.bench.load.connector import Connected

__all__ = ["LoadError", "Moved", "NativeLoad", "Traffic", "compile_library"]

HERE = Path(__file__).parent
CORE = HERE.parents[2] / "tunnel" / "nativeplane" / "core"
SOURCES = (
    *(HERE / name for name in ("load_client.c", "load_traffic.c", "load_echo.c")),
    *sorted(CORE.glob("aead*.c")),
    *(
        CORE / f"{name}.c"
        for name in ("cbc", "checksum", "cut", "data_key", "hmac", "inner", "replay", "train", "tun", "udp")
    ),
)
FLAGS = (
    *("-std=gnu11", "-O2", "-g", "-fPIC", "-pthread", f"-I{CORE}"),
    *("-Wall", "-Wextra", "-Werror=incompatible-pointer-types", "-Werror=implicit-function-declaration"),
)

QUIET_MS = 1500
"""After so long without a packet, no more are to come."""
PATIENCE_MS = 20_000


class LoadError(Exception):
    """The load client could not do its part."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What went through: packets inside the tunnel and their octets, in the time from the first to the last."""

    packets: int
    octets: int
    refused: int
    """By this host's own socket."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """UDP packets inside: these sizes in turn, IP header included; `burst` for one client before the next."""

    sizes: tuple[int, ...]
    port: int
    seconds: float
    destination: str = "0.0.0.0"
    burst: int = 32


class _Settings(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_int),
        ("offload", ctypes.c_bool),
        ("server", ctypes.c_uint32),
        ("server_port", ctypes.c_uint16),
        ("inside", ctypes.c_uint32),
        ("peer_id", ctypes.c_uint32),
        ("key_id", ctypes.c_uint8),
        ("cipher", ctypes.c_uint8),
        ("send", ctypes.c_uint8 * 128),
        ("receive", ctypes.c_uint8 * 128),
    )


class _Moved(ctypes.Structure):
    _fields_ = (
        ("packets", ctypes.c_uint64),
        ("octets", ctypes.c_uint64),
        ("refused", ctypes.c_uint64),
        ("microseconds", ctypes.c_uint64),
    )

    def value(self) -> Moved:
        return Moved(self.packets, self.octets, self.refused, self.microseconds / 1e6)


class _Traffic(ctypes.Structure):
    _fields_ = (
        ("destination", ctypes.c_uint32),
        ("port", ctypes.c_uint16),
        ("sizes", ctypes.POINTER(ctypes.c_uint16)),
        ("size_count", ctypes.c_size_t),
        ("burst", ctypes.c_uint),
        ("duration", ctypes.c_uint32),
    )

    @classmethod
    def of(cls, traffic: Traffic) -> _Traffic:
        sizes = (ctypes.c_uint16 * len(traffic.sizes))(*traffic.sizes)
        destination = int(IPv4Address(traffic.destination))
        return cls(destination, traffic.port, sizes, len(sizes), traffic.burst, round(traffic.seconds * 1e3))


class _Echoes(ctypes.Structure):
    _fields_ = (
        ("destination", ctypes.c_uint32),
        ("rounds", ctypes.c_uint32),
        ("rate", ctypes.c_uint32),
        ("patience", ctypes.c_uint32),
    )


def compile_library(target: Path) -> Path:
    """Compile the load client. Raises LoadError with what the compiler says."""
    command = ["cc", *FLAGS, "-shared", "-o", str(target), *map(str, SOURCES), "-lcrypto"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(f"cannot compile the load client:\n{done.stderr}")
    return target


class NativeLoad:
    """The compiled load client, and the clients that it has been given."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._clients: list[ctypes.c_void_p] = []

    @property
    def aead(self) -> str:
        """The library that the core encrypts with on this host."""
        name = self._library.aead_backend
        name.restype = ctypes.c_char_p
        return str(name().decode())

    def add(self, connected: Connected, server: tuple[str, int], *, offload: bool) -> None:
        """Take over a connected client; its socket stays open for as long as `connected` is kept."""
        key = connected.key
        settings = _Settings(
            fd=connected.sock.fileno(),
            offload=offload,
            server=int(IPv4Address(server[0])),
            server_port=server[1],
            inside=int(connected.inside),
            peer_id=connected.peer_id,
            key_id=key.key_id,
            cipher=list(Cipher).index(key.cipher),
            send=(ctypes.c_uint8 * 128)(*key.send.cipher, *key.send.hmac),
            receive=(ctypes.c_uint8 * 128)(*key.receive.cipher, *key.receive.hmac),
        )
        client = ctypes.c_void_p()
        self._call("load_client_new", ctypes.byref(settings), ctypes.byref(client))
        self._clients.append(client)

    def close(self) -> None:
        """Forget all clients and their keys."""
        for client in self._clients:
            self._library.load_client_free(client)
        self._clients.clear()

    def tunnel(self, tun: int) -> None:
        """Be a whole client with a TUN device, until the device is gone; raises LoadError then."""
        self._call("load_tunnel", self._clients[0], tun)

    def flood(self, traffic: Traffic) -> Moved:
        """Send from all clients as fast as it goes; what was sent."""
        moved = _Moved()
        self._call("load_flood", *self._all(), ctypes.byref(_Traffic.of(traffic)), ctypes.byref(moved))
        return moved.value()

    def collect(self, hello: Traffic) -> Moved:
        """What arrives at all clients and can be opened, once they have said hello."""
        moved = _Moved()
        about = ctypes.byref(_Traffic.of(hello))
        self._call("load_collect", *self._all(), about, QUIET_MS, PATIENCE_MS, ctypes.byref(moved))
        return moved.value()

    def source(self, sock: socket.socket, addresses: Sequence[str], traffic: Traffic) -> Moved:
        """Send datagrams from a plain socket to each address in turn; what was sent."""
        moved = _Moved()
        numbers = (ctypes.c_uint32 * len(addresses))(*(int(IPv4Address(address)) for address in addresses))
        about = ctypes.byref(_Traffic.of(traffic))
        self._call("load_source", sock.fileno(), numbers, ctypes.c_size_t(len(numbers)), about, ctypes.byref(moved))
        return moved.value()

    def sink(self, sock: socket.socket) -> Moved:
        """What arrives at a plain socket."""
        moved = _Moved()
        self._call("load_sink", sock.fileno(), QUIET_MS, PATIENCE_MS, ctypes.byref(moved))
        return moved.value()

    def echo(self, destination: str, *, rounds: int, rate: int, patience_s: float) -> tuple[Moved, list[int]]:
        """Each client pings once a round; what came back, and the round trips in microseconds."""
        moved = _Moved()
        trips = (ctypes.c_uint32 * (len(self._clients) * rounds))()
        echoes = _Echoes(int(IPv4Address(destination)), rounds, rate, round(patience_s * 1e3))
        self._call("load_echo", *self._all(), ctypes.byref(echoes), trips, ctypes.byref(moved))
        return moved.value(), list(trips[: moved.packets])

    def _all(self) -> tuple[ctypes.Array[ctypes.c_void_p], ctypes.c_size_t]:
        count = len(self._clients)
        return (ctypes.c_void_p * count)(*(client.value for client in self._clients)), ctypes.c_size_t(count)

    def _call(self, name: str, *arguments: object) -> None:
        failure = self._library[name](*arguments)
        if failure:
            raise LoadError(f"{name}: {os.strerror(-failure)}")
