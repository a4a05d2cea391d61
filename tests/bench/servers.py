"""The servers that are measured: each is started the same way and serves the same clients.

Same namespaces, same certificates, same tls-crypt key, same cipher, no NAT, one route to the office, everybody
may go there. OpenVPN gets the socket buffers that its users give it for speed.
"""

from __future__ import annotations

from dataclasses import dataclass
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

    from tests.lab import Issued, Lab, Process

__all__ = ["Material", "OpenVpnServer", "PortwayServer", "Server", "Setting", "client_profile"]

PORT = 1194
SOCKET_BUFFER = 2_000_000


@dataclass(frozen=True, slots=True)
class Setting:
    """What both servers are asked to do."""

    cipher: str = "AES-256-GCM"
    transport: str = "udp"


@dataclass(frozen=True, slots=True)
class Material:
    """Certificates and keys that both servers use."""

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

    name: str

    def start(self, lab: Lab, material: Material, setting: Setting) -> Process:
        """Run it in the lab's gateway until it accepts clients; the process is the root of all that it costs."""


class OpenVpnServer:
    name = "openvpn"

    def start(self, lab: Lab, material: Material, setting: Setting) -> Process:
        lab.gateway.sysctl("net.ipv4.ip_forward", 1)
        config = material.directory / "openvpn-server.conf"
        config.write_text(f"""
            proto {"udp" if setting.transport == "udp" else "tcp-server"}
            port {PORT}
            dev tun
            topology subnet
            server 10.80.0.0 255.255.252.0
            push "route 10.20.0.0 255.255.255.0"
            keepalive 10 60
            max-clients 500
            duplicate-cn
            connect-freq-initial 1000 10
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


class PortwayServer:
    name = "portway"

    def start(self, lab: Lab, material: Material, setting: Setting) -> Process:
        config = gateway_config(
            material.directory / "state",
            endpoint(
                transport_protocol=[setting.transport],
                vpn_port=PORT,
                server_certificate=str(material.server.certificate),
                server_key=str(material.server.key),
                sessions_per_client=0,
                authentication={
                    "type": "certificate-authentication",
                    "client_root_certificate_chain": str(material.ca),
                },
                control_channel={"accept": ["tls-crypt"], "tls_crypt_key": str(material.tls_crypt)},
                data_channel={"data_ciphers": [setting.cipher]},
                handshake={"max_stateless_replies": 1000, "max_half_open_per_prefix": 500},
                target_network=[
                    {"name": "office", "interface": "office", "cidr": OFFICE_NETWORK, "nat": False},
                ],
                route=[{"destination": OFFICE_NETWORK, "target": "office"}],
                authorization_rule=[rule(OFFICE_NETWORK)],
            ),
        )
        return Gateway(lab.gateway, material.directory, config, log=lab.log("portway"))


def client_profile(lab: Lab, material: Material, setting: Setting) -> Path:
    """The profile of the stock client that both servers are measured with."""
    profile = material.directory / "client.ovpn"
    profile.write_text(f"""
        client
        dev tun
        proto {"udp" if setting.transport == "udp" else "tcp-client"}
        remote {lab.gateway_address()} {PORT}
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
