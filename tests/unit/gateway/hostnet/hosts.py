"""A gateway's host with two target networks and an uplink, all namespaces; and daemons on it that a test drives.

    target  10.20.0.53 ─── eth1 10.20.0.1 ┐
                                          ├ gateway ─ eth0 192.0.2.1 ─── 192.0.2.2  uplink (the main table's default)
    second  10.21.0.53 ─── eth2 10.21.0.1 ┘

The target also has 10.30.0.9, a host behind it that only the endpoint's routes know of.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import struct
import subprocess
import sys
import threading
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyroute2 import netns
from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Packet, Raw

from policy import (
    AuthorizationRule,
    CertificateAuthentication,
    ControlChannel,
    ControlChannelProtection,
    EndpointSpec,
    Route,
    ServerCertificate,
    TargetNetwork,
)
from tests.lab.namespace import Namespace, unique_prefix
from tests.lab.process import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.hostnet import Device

NETLINK_NETFILTER = 12
NFT_MSG_GETGEN = 10 << 8 | 16  # of the subsystem nftables; linux/netfilter/nf_tables.h
NLM_F_REQUEST = 1

ROOT = Path(__file__).parents[4]
PATIENCE_S = 20
CLIENTS = "10.80.0.0/22"
CLIENT = "10.80.0.5"
TARGET = "10.20.0.53"
BEHIND_TARGET = "10.30.0.9"
SECOND = "10.21.0.53"
OFFICE = TargetNetwork("office", "eth1", IPv4Network("10.20.0.0/24"), nat=False)
LAB = TargetNetwork("lab", "eth2", IPv4Network("10.21.0.0/24"), nat=False)


def make_spec(
    name: str = "main",
    *targets: TargetNetwork,
    clients: str = CLIENTS,
    routes: Sequence[tuple[str, str]] = (),
    **settings: Any,
) -> EndpointSpec:
    """An endpoint with these target networks, and a route to the whole of each where no routes are given."""
    targets = targets or (OFFICE,)
    named = routes or [(str(target.cidr), target.name) for target in targets]
    return EndpointSpec(
        name=name,
        client_cidr_block=IPv4Network(clients),
        server_certificate=ServerCertificate(b"", b""),
        authentication=CertificateAuthentication(b""),
        control_channel=ControlChannel((ControlChannelProtection.NONE,)),
        target_networks=targets,
        routes=tuple(Route(IPv4Network(destination), target) for destination, target in named),
        authorization_rules=(AuthorizationRule(IPv4Network("0.0.0.0/0"), None),),
        **settings,
    )


class RemoteError(Exception):
    """An exception in the daemon: its type's name and its text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class Daemon:
    """A process in a namespace that holds a `HostNetwork` and its TUN devices."""

    def __init__(self, host: Namespace, daemon_id: str, wrapper: Sequence[str] = ()) -> None:
        self._id = daemon_id
        self._process = subprocess.Popen(
            [*host.command(*wrapper, sys.executable, "-W", "error", "-m", "tests.unit.gateway.hostnet.agent")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def open(self) -> None:
        self.call("open", self._id)

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the agent; raises `RemoteError` with what it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((method, arguments), self._process.stdin)
        self._process.stdin.flush()
        failed, answer = pickle.load(self._process.stdout)
        if failed:
            raise RemoteError(*answer)
        return answer

    def add(self, spec: EndpointSpec) -> Device:
        """Make a TUN device and add the endpoint, which must have no problem."""
        device: Device = self.call("make_tun")
        assert self.call("add", device, spec) == ()
        return device

    def send(self, device: Device, packet: Packet) -> None:
        """Let a client send a packet."""
        self.call("inject", device, bytes(packet))

    def receive(self, device: Device) -> Packet:
        """The next packet to a client."""
        return IP(self.call("receive", device))

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Let the process end, without any cleaning up that the test has not asked for."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()


class Hosts:
    """The four namespaces, and what a test does in them."""

    def __init__(self) -> None:
        self._cleanup = contextlib.ExitStack()
        prefix = unique_prefix()
        self.gateway, self.target, self.second, self.uplink = (
            self._make(prefix + name) for name in ("gateway", "target", "second", "uplink")
        )
        # The kernel's own link-local addresses appear a while after the link: they would blur "as it was found".
        self.gateway.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
        self._wire(self.uplink, "eth0", "192.0.2.1/24", "192.0.2.2/24")
        self._wire(self.target, "eth1", "10.20.0.1/24", "10.20.0.53/24")
        self._wire(self.second, "eth2", "10.21.0.1/24", "10.21.0.53/24")
        self.gateway.ip("link set lo up", "route add default via 192.0.2.2")
        self.target.ip("link set lo up", f"addr add {BEHIND_TARGET}/32 dev lo", "route add default via 10.20.0.1")
        self.second.ip("route add default via 10.21.0.1")
        eventually(lambda: "NO-CARRIER" not in self.state(), within_s=PATIENCE_S, what="carrier on all links")

    def _make(self, name: str) -> Namespace:
        namespace = Namespace(name)
        self._cleanup.callback(namespace.close)
        return namespace

    def _wire(self, other: Namespace, interface: str, here: str, there: str) -> None:
        self.gateway.ip(
            f"link add {interface} type veth peer name eth0 netns {other.name}",
            f"addr add {here} dev {interface}",
            f"link set {interface} up",
        )
        other.ip(f"addr add {there} dev eth0", "link set eth0 up")

    def daemon(self, daemon_id: str = "a", wrapper: Sequence[str] = ()) -> Daemon:
        """A daemon on the gateway's host, not opened yet."""
        daemon = Daemon(self.gateway, daemon_id, wrapper)
        self._cleanup.callback(daemon.stop)
        return daemon

    def started(self, daemon_id: str = "a") -> Daemon:
        """A daemon that is open."""
        daemon = self.daemon(daemon_id)
        daemon.open()
        return daemon

    def udp(self, namespace: Namespace, address: str, port: int = 0) -> socket.socket:
        """A UDP socket in a namespace, closed with the test."""
        opened = _socket_in(namespace)
        self._cleanup.callback(opened.close)
        opened.settimeout(PATIENCE_S)
        opened.bind((address, port))
        return opened

    def state(self) -> str:
        """All that host networking may change on the gateway's host, as text."""
        commands = (
            "ip rule",
            "ip -6 rule",
            "ip route show table all",
            "ip -6 route show table all",
            "ip addr",
            "nft list ruleset",
            "sysctl -a --pattern net.ipv[46].conf|ip_forward",
        )
        return "\n".join(f"# {command}\n{self.gateway.run(*command.split()).stdout}" for command in commands)

    def forwards(self, interface: str) -> bool:
        """Whether forwarding is on for an interface of the gateway's host."""
        shown = self.gateway.run("sysctl", "-n", f"net.ipv4.conf.{interface}.forwarding")
        return shown.stdout.strip() == "1"

    def drops(self, why: str) -> int:
        """How many packets the daemons' drop rules of this comment have counted."""
        listed = self.gateway.run("nft", "list", "ruleset").stdout.splitlines()
        counts = [line.partition("counter packets ")[2].split()[0] for line in listed if f'comment "{why}"' in line]
        return sum(map(int, counts))

    def nft_generation(self) -> int:
        """Grows by one with every transaction that nftables carries out on the gateway's host."""
        with _socket_in(self.gateway, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asked:
            asked.send(struct.pack("=IHHIIBBH", 20, NFT_MSG_GETGEN, NLM_F_REQUEST, 1, 0, 0, 0, 0))
            reply = asked.recv(4096)
        # After both headers comes NFTA_GEN_ID, of 4 octets in network order, behind its own length and type.
        return int.from_bytes(reply[24:28])

    def close(self) -> None:
        self._cleanup.close()


def _socket_in(
    namespace: Namespace, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM, protocol: int = 0
) -> socket.socket:
    """A socket belongs to the namespace of the thread that makes it, whoever uses it later."""
    made: list[socket.socket] = []

    def make() -> None:
        netns.setns(namespace.name)
        made.append(socket.socket(family, kind, protocol))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def udp_packet(destination: str, payload: bytes, source: str = CLIENT, port: int = 5000) -> Packet:
    """A datagram from a client, from port 4000."""
    return IP(src=source, dst=destination) / UDP(sport=4000, dport=port) / Raw(payload)


def is_unreachable(packet: Packet) -> bool:
    """Whether the host answers that it knows no way."""
    return bool(ICMP in packet and (packet[ICMP].type, packet[ICMP].code) == (3, 0))
