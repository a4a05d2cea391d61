"""The servers that are measured: each is started the same way and serves the same clients.

Same namespaces, same certificates, same tls-crypt key, same cipher, no NAT, one route to the office, everybody
may go there. OpenVPN gets the socket buffers that its users give it for speed, and no limit that a crowd would meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Protocol

from tests.lab import (
    OFFICE_NETWORK,
    Gateway,
    LabAuthority,
    endpoint,
    gateway_config,
    generate_key,
    rule,
    start_openvpn_server,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.scenarios import Setting
    from tests.lab import Issued, Lab, Process

__all__ = ["PORT", "SERVERS", "Contestant", "Material", "OpenVpnServer", "Server", "client_profile"]

PORT = 1194
CLIENTS = IPv4Network("10.80.0.0/18")
MOST_CLIENTS = 10_000
PING_S = 10
SILENCE_S = 300
"""Long enough that who has connected first is still there when five thousand others have."""
SOCKET_BUFFER = 2_000_000


@dataclass(frozen=True, slots=True)
class Material:
    """Certificates and keys that all servers and clients use."""

    directory: Path
    ca: Path
    server: Issued
    client: Issued
    tls_crypt: Path

    @classmethod
    def make(cls, directory: Path) -> Material:
        authority = LabAuthority(directory)
        return cls(
            directory,
            authority.certificate,
            authority.server(),
            authority.client("bench"),
            generate_key("secret", directory / "tls-crypt.key"),
        )


class Server(Protocol):
    """One of the programs under test."""

    def start(self, lab: Lab, material: Material, setting: Setting) -> Process:
        """Run it in the lab's gateway until it accepts clients; the process is the root of all that it costs."""


class OpenVpnServer:
    """What everybody uses today, in userspace."""

    def start(self, lab: Lab, material: Material, setting: Setting) -> Process:
        lab.gateway.sysctl("net.ipv4.ip_forward", 1)
        config = material.directory / "openvpn-server.conf"
        config.write_text(f"""
            proto {"udp" if setting.transport == "udp" else "tcp-server"}
            port {PORT}
            dev tun
            topology subnet
            server {CLIENTS.network_address} {CLIENTS.netmask}
            push "route 10.20.0.0 255.255.255.0"
            keepalive {PING_S} {SILENCE_S}
            max-clients {MOST_CLIENTS}
            duplicate-cn
            connect-freq-initial {MOST_CLIENTS} 10
            ca {material.ca}
            cert {material.server.certificate}
            key {material.server.key}
            dh none
            tls-crypt {material.tls_crypt}
            data-ciphers {setting.cipher}
            sndbuf {SOCKET_BUFFER}
            rcvbuf {SOCKET_BUFFER}
        """)
        return start_openvpn_server(lab.gateway, config, log=lab.log("openvpn-server"))


@dataclass(frozen=True, slots=True)
class PortwayServer:
    """Portway with one of its data planes."""

    plane: str

    def start(self, lab: Lab, material: Material, setting: Setting) -> Process:
        config = gateway_config(
            material.directory / "state",
            endpoint(
                transport_protocol=[setting.transport],
                vpn_port=PORT,
                client_cidr_block=str(CLIENTS),
                server_certificate=str(material.server.certificate),
                server_key=str(material.server.key),
                sessions_per_client=0,
                authentication={
                    "type": "certificate-authentication",
                    "client_root_certificate_chain": str(material.ca),
                },
                control_channel={"accept": ["tls-crypt"], "tls_crypt_key": str(material.tls_crypt)},
                data_channel={
                    "data_ciphers": [setting.cipher],
                    "udp_offload": setting.udp_offload,
                    "tun_offload": setting.tun_offload,
                },
                keepalive={"interval_s": PING_S, "timeout_s": SILENCE_S},
                handshake={"max_stateless_replies": MOST_CLIENTS, "max_half_open_per_prefix": 500},
                target_network=[
                    {"name": "office", "interface": "office", "cidr": OFFICE_NETWORK, "nat": False},
                ],
                route=[{"destination": OFFICE_NETWORK, "target": "office"}],
                authorization_rule=[rule(OFFICE_NETWORK)],
            ),
        )
        config["gateway"]["plane"] = self.plane
        return Gateway(lab.gateway, material.directory, config, log=lab.log("portway"))


class Contestant(Enum):
    """A server that can be measured."""

    NATIVE = "native"
    PYTHON = "python"
    OPENVPN = "openvpn"


SERVERS: dict[Contestant, Server] = {
    Contestant.NATIVE: PortwayServer("native"),
    Contestant.PYTHON: PortwayServer("python"),
    Contestant.OPENVPN: OpenVpnServer(),
}


def client_profile(lab: Lab, material: Material, setting: Setting, number: int = 1) -> Path:
    """The profile of a stock client in the client namespace of that number, the same for every server."""
    profile = material.directory / f"client-{number}.ovpn"
    profile.write_text(f"""
        client
        dev tun
        proto {"udp" if setting.transport == "udp" else "tcp-client"}
        remote {lab.gateway_address(number)} {PORT}
        nobind
        ca {material.ca}
        cert {material.client.certificate}
        key {material.client.key}
        tls-crypt {material.tls_crypt}
        remote-cert-tls server
        data-ciphers {setting.cipher}
        sndbuf {SOCKET_BUFFER}
        rcvbuf {SOCKET_BUFFER}
        explicit-exit-notify 1
        verb 4
    """)
    return profile
