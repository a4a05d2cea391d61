"""The endpoint's spec: everything that an administrator has decided, as one immutable value.

Whatever the source (the TOML file today), the daemon is handed a whole `GatewaySpec`, validates it
(`policy.validate`), computes the difference from the one in force (`policy.compare`) and applies it live. Files that
a configuration names are read before a spec is built: the spec holds their contents, so that two specs are
equal exactly when nothing has to change.

Names and meanings are AWS Client VPN's where it has the thing, OpenVPN's where it does not.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address

__all__ = [
    "DEFAULT_LOG_GROUP",
    "LOCAL",
    "AuthorizationRule",
    "CertificateAuthentication",
    "ControlChannel",
    "ControlChannelProtection",
    "DataChannel",
    "EndpointSpec",
    "GatewaySpec",
    "HandshakeLimits",
    "Keepalive",
    "LogDestination",
    "Route",
    "SecurityGroup",
    "SecurityGroupRule",
    "ServerCertificate",
    "TargetNetwork",
]

LOCAL = "local"
"""The target of a route that leads from client to client."""
DEFAULT_LOG_GROUP = "default"
"""The log group that every gateway has."""


class ControlChannelProtection(enum.Enum):
    """How a client's control packets are protected before TLS begins; the value is OpenVPN's option."""

    TLS_CRYPT_V2 = "tls-crypt-v2"
    TLS_CRYPT = "tls-crypt"
    TLS_AUTH = "tls-auth"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What the endpoint proves itself with, in PEM: its certificate with the chain behind it, and its key."""

    certificate_chain: bytes
    private_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateAuthentication:
    """Mutual TLS: `certificate-authentication` in AWS's terms."""

    client_root_certificate_chain: bytes
    """PEM: the authorities that client certificates must chain to."""
    certificate_revocation_list: bytes | None = None
    """PEM: one CRL per issuer; None means that nothing can be revoked."""
    groups_from: str | None = None
    """Where a client's groups come from: `subject.OU`, `subject.O` or `san.email-domain`; None gives no groups."""


@dataclass(frozen=True, slots=True)
class ControlChannel:
    """The protections that clients may use; the first is what exported profiles use."""

    accept: tuple[ControlChannelProtection, ...]
    tls_crypt_key: bytes | None = field(default=None, repr=False)
    """256 octets, from an OpenVPN static key file."""
    tls_auth_key: bytes | None = field(default=None, repr=False)
    """256 octets, from an OpenVPN static key file."""
    tls_auth_digest: str = "SHA1"
    """SHA1, SHA256 or SHA512; cannot be negotiated, so profiles carry it as `auth`."""
    tls_auth_direction: int | None = 0
    """The gateway's key direction: 0 (clients have `key-direction 1`), 1, or None for both ways the same."""
    tls_crypt_v2_server_key: bytes | None = field(default=None, repr=False)
    """128 octets, from an OpenVPN tls-crypt-v2 server key file."""
    tls_crypt_v2_max_age_days: int | None = None
    """Refuse client keys older than this; needs keys with a timestamp. None accepts any age."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Pushed as `ping` and `ping-restart`; the gateway itself waits twice the time-out, as OpenVPN does."""

    interval_s: int = 10
    timeout_s: int = 60


@dataclass(frozen=True, slots=True)
class DataChannel:
    """Ciphers, key life and packet sizes inside the tunnel."""

    data_ciphers: tuple[str, ...] = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
    """OpenVPN's names in order of preference; the CBC ciphers only where they are named here."""
    auth: str = "SHA1"
    """HMAC digest of the CBC ciphers."""
    tls_ekm: bool = True
    """Derive keys with the TLS exporter where the client can; False falls back to OpenVPN's own PRF for everyone."""
    renegotiate_after_s: int = 3600
    """OpenVPN `reneg-sec` on the gateway's side; 0 leaves it to the clients."""
    renegotiate_after_bytes: int = 0
    """OpenVPN `reneg-bytes`; 0 means the cipher's own limit."""
    renegotiate_after_packets: int = 0
    """OpenVPN `reneg-pkts`; 0 means the cipher's own limit."""
    transition_window_s: int = 3600
    """How long a replaced key is still accepted: OpenVPN `tran-window`."""
    mtu: int = 1500
    """Of the TUN device, pushed as `tun-mtu`; 576 to 9000."""
    mssfix: int = 1492
    """Clamp TCP so that outer datagrams stay within this size; 0 turns it off."""
    udp_offload: bool = True
    """Let the kernel join and cut datagrams (`UDP_GRO`, `UDP_SEGMENT`)."""
    tun_offload: bool = True
    """Join TCP segments on their way to the TUN device (`IFF_VNET_HDR`)."""


@dataclass(frozen=True, slots=True)
class HandshakeLimits:
    """What clients may cost before they have proved themselves."""

    timeout_s: int = 60
    """OpenVPN `hand-window`: from the first accepted packet to the pushed configuration."""
    max_half_open: int = 1000
    """Handshakes in flight."""
    max_half_open_per_prefix: int = 128
    """Handshakes in flight from one /24 (IPv4) or /56 (IPv6)."""
    max_stateless_replies: int = 100
    """Answers to first packets per `stateless_reply_window_s`: OpenVPN `connect-freq-initial`. Packets that prove a
    control-channel key count apart from those without one."""
    stateless_reply_window_s: int = 10


@dataclass(frozen=True, slots=True)
class SecurityGroupRule:
    """What a security group lets pass. Another group on the other side has been resolved to its members' addresses."""

    id: str
    protocol: str
    """`tcp`, `udp`, `icmp`, another protocol's number, or `-1` for every protocol."""
    from_port: int
    """The first port, the ICMP type; -1 for any. Means something with `tcp`, `udp` and `icmp` only."""
    to_port: int
    """The last port, the ICMP code; -1 for any."""
    destination: IPv4Network
    """The other side: where connections lead for an egress rule, where they come from for an ingress rule."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """Which connections a target network takes, by AWS's rules: allow only, stateful, several groups add up."""

    id: str
    name: str
    egress: tuple[SecurityGroupRule, ...] = ()
    """Connections that clients open."""
    ingress: tuple[SecurityGroupRule, ...] = ()
    """Connections to clients that the target network opens, where `clients_reachable` lets it."""


@dataclass(frozen=True, slots=True)
class TargetNetwork:
    """A network behind the gateway, reached through one of the host's interfaces."""

    name: str
    interface: str
    cidr: IPv4Network
    nat: bool = True
    """True: targets see the gateway's address. False: they see the client's, and must route the client range back."""
    gateway: IPv4Address | None = None
    """Next hop for route destinations outside `cidr`."""
    security_groups: tuple[SecurityGroup, ...] | None = None
    """What filters traffic with this network; None filters nothing, and no group, or none with a rule, lets nothing
    pass."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where traffic for a destination goes: a target network's name, or `LOCAL`."""

    destination: IPv4Network
    target: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class AuthorizationRule:
    """Who may reach a destination: one group, or everyone."""

    destination: IPv4Network
    group: str | None
    """None authorises all groups, clients without a group included."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class LogDestination:
    """Where the records of an endpoint's connections go."""

    group: str = DEFAULT_LOG_GROUP
    """A log group of the gateway's: AWS's CloudWatch log group."""
    stream: str = ""
    """What records are marked with in it; empty for the endpoint's id."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One endpoint: its own sockets, address pool, TUN device, routes and rules."""

    name: str
    client_cidr_block: IPv4Network
    server_certificate: ServerCertificate
    authentication: CertificateAuthentication
    control_channel: ControlChannel
    listen: IPv4Address | IPv6Address = IPv4Address("0.0.0.0")  # noqa: S104 - a gateway is there to be reached
    transport_protocol: tuple[str, ...] = ("udp", "tcp")
    vpn_port: int = 443
    public_hostname: str = ""
    """What exported profiles put into `remote` where the command line names nothing."""
    description: str = ""
    split_tunnel: bool = True
    dns_servers: tuple[IPv4Address, ...] = ()
    search_domains: tuple[str, ...] = ()
    tls_version_min: str = "1.2"
    """1.2 or 1.3."""
    session_timeout_hours: float = 24
    disconnect_on_session_timeout: bool = True
    """Whether a client whose session has lasted that long stays away until its user connects it again; if not, it
    connects again by itself."""
    login_banner: str = ""
    """What clients show their users when they have connected."""
    client_route_enforcement: bool = False
    """Whether clients with a full tunnel have to leave their own local networks alone."""
    connection_log: LogDestination | None = LogDestination()
    """None where no log group gets records of this endpoint."""
    max_clients: int = 0
    """Most sessions at once; 0 means as many as the pool has addresses."""
    sessions_per_client: int = 1
    """How many sessions one certificate name may hold; a further one replaces its oldest. 0 is unlimited."""
    clients_reachable: bool = False
    """Whether target networks may open connections to clients."""
    data_channel: DataChannel = DataChannel()
    keepalive: Keepalive = Keepalive()
    handshake: HandshakeLimits = HandshakeLimits()
    target_networks: tuple[TargetNetwork, ...] = ()
    routes: tuple[Route, ...] = ()
    authorization_rules: tuple[AuthorizationRule, ...] = ()

    @property
    def gateway_address(self) -> IPv4Address:
        """The gateway's own address inside the tunnel: the first host of the client range."""
        return self.client_cidr_block[1]


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """All endpoints of one daemon."""

    endpoints: tuple[EndpointSpec, ...]

    def endpoint(self, name: str) -> EndpointSpec:
        """The endpoint of this name; `KeyError` where there is none."""
        for endpoint in self.endpoints:
            if endpoint.name == name:
                return endpoint
        raise KeyError(name)
