from __future__ import annotations

import contextlib
import errno
import pathlib
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.plane_suite.conftest import PLANES, open_on
from tests.unit.tunnel.plane_suite.rig import EVERYTHING, peer, settings, socket_device
from tunnel.plane import Path, Transport
from tunnel.tun import TunDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.tunnel.plane_suite.conftest import OpenPlane

    Open = Callable[..., OpenPlane]

KINDS = {Transport.UDP: socket.SOCK_DGRAM, Transport.TCP: socket.SOCK_STREAM}


@pytest.fixture(params=PLANES)
def open_plane(request: pytest.FixtureRequest) -> Open:
    """Opens a plane of each kind with changed settings."""
    name, workers = request.param

    def open_one(open_device: Callable[..., TunDevice], **overrides: object) -> OpenPlane:
        return open_on(name, settings(workers=workers, **overrides), open_device)

    return open_one


@pytest.fixture
def device() -> Iterator[TunDevice]:
    near, far = socket_device()
    with near, far:
        yield TunDevice("tun9", 9, near)


def sockets_of_this_process() -> set[str]:
    """Each open socket, by the inode that names it."""
    links = set[str]()
    for entry in pathlib.Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor
            links.add(str(entry.readlink()))
    return {link for link in links if link.startswith("socket:")}


def unused(name: str, **_: object) -> TunDevice:
    raise AssertionError(name)


@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize(("listen", "place"), [("127.0.0.1", "127.0.0.1:{}"), ("::1", r"\[::1\]:{}")])
def test_a_port_that_is_taken_is_named_before_a_device_is_made(
    open_plane: Open, transport: Transport, listen: str, place: str
) -> None:
    address = IPv6Address(listen) if ":" in listen else IPv4Address(listen)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, KINDS[transport]) as holder:
        holder.bind((listen, 0))
        if transport is Transport.TCP:
            holder.listen()
        port = holder.getsockname()[1]
        expected = f"cannot listen on {transport.name} {place.format(port)}: another program uses this port"
        with pytest.raises(OSError, match=expected) as refusal:
            open_plane(unused, listen=address, port=port, transports=frozenset({transport}))
        assert refusal.value.errno == errno.EADDRINUSE


def test_an_address_that_the_host_lacks_is_named(open_plane: Open) -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0: this host has no such address"):
        open_plane(unused, listen=IPv4Address("192.0.2.1"))


def test_without_a_device_no_socket_stays_open(open_plane: Open) -> None:
    asked = list[str]()

    def missing(name: str, **_: object) -> TunDevice:
        asked.append(name)
        raise OSError(errno.ENOENT, "no device")

    before = sockets_of_this_process()
    with pytest.raises(OSError, match="no device"):
        open_plane(missing)
    assert asked == ["portway%d"]
    assert sockets_of_this_process() <= before


@pytest.mark.parametrize("transports", [{Transport.UDP}, {Transport.TCP}], ids=["udp", "tcp"])
def test_closing_twice_is_harmless(open_plane: Open, device: TunDevice, transports: set[Transport]) -> None:
    plane = open_plane(lambda _, **__: device, transports=frozenset(transports))
    assert plane.port > 0
    plane.close()
    plane.close()


@pytest.fixture
def plane(open_plane: Open, device: TunDevice) -> Iterator[OpenPlane]:
    plane = open_plane(lambda _, **__: device, transports=frozenset({Transport.UDP}))
    yield plane
    plane.close()


async def test_ids_and_inside_addresses_are_given_once(plane: OpenPlane) -> None:
    plane.add_peer(peer(1, "10.80.0.2"))
    for again in (peer(1, "10.80.0.3"), peer(2, "10.80.0.2")):
        with pytest.raises(ValueError, match="belongs to another peer"):
            plane.add_peer(again)
    plane.remove_peer(1)
    plane.add_peer(peer(1, "10.80.0.2"))


async def test_unknown_peers_are_bugs_of_the_caller(plane: OpenPlane) -> None:
    for call in (plane.remove_peer, plane.traffic):
        with pytest.raises(KeyError):
            call(5)
    with pytest.raises(KeyError):
        plane.set_access(5, EVERYTHING)
    with pytest.raises(KeyError):
        plane.activate_key(5, 0)


async def test_paths_that_are_gone_are_ignored(plane: OpenPlane) -> None:
    gone = Path(Transport.TCP, ("127.0.0.1", 9), stream=3)
    plane.send_control(gone, [b"x"])
    plane.close_stream(gone)


@pytest.mark.parametrize("offload", [True, False])
def test_a_plane_says_what_it_is(open_plane: Open, device: TunDevice, offload: bool) -> None:
    plane = open_plane(lambda _, **__: device, udp_offload=offload)
    facts = plane.facts()
    plane.close()
    assert type(plane).__name__.lower().startswith(facts.name)
    assert facts.udp_gso == offload
    assert facts.aead in ({"libcrypto", "intel-ipsec-mb"} if facts.name == "native" else {"libcrypto"})
    assert len(facts.worker_cpu_s) == (facts.workers if facts.name == "native" else 0)
    # A stand-in for a TUN device gives nothing that is not cut.
    assert (facts.tun_tso, facts.tun_uso, facts.lost_control_packets) == (False, False, 0)
