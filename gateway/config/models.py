"""The shape of `config.toml`: one pydantic model per section, strict, refusing keys that it does not know.

The docstring of a field is what a person is told who leaves it out, and what `config.example.toml` explains at length.
Names and defaults are those of `policy.spec` where a key goes there. What can only be judged with the other
endpoints or the host in view (overlaps, pool sizes, names that must exist) is left to `policy.validate`.

The order of fields matters where one is checked against another: the later one sees the earlier, if that could be read.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from gateway.config import certificates, models_logs, models_service
from gateway.config.files import (
    CertificateFile,
    CrlFile,
    PrivateKeyFile,
    StaticKeyFile,
    TlsCryptV2ServerKeyFile,
    surroundings_of,
)
from gateway.config.problems import WrongValue, refuse
from gateway.config.section import Section
from gateway.config.values import (
    Address,
    Banner,
    DomainName,
    Group,
    HostName,
    InterfaceName,
    ListenAddress,
    ListOf,
    Name,
    Network,
    OneLine,
    Seconds,
    Tables,
    shown,
)

__all__ = ["ConfigFile"]

Count = Annotated[int, Field(ge=0, le=2**31)]
Digest = Literal["SHA1", "SHA256", "SHA512"]
Cipher = Literal["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305", "AES-256-CBC", "AES-128-CBC"]
Protection = Literal["tls-crypt-v2", "tls-crypt", "tls-auth", "none"]


class Gateway(Section):
    """`[gateway]`: what the daemon has once."""

    state_dir: Annotated[OneLine, Field(min_length=1)] = "/var/lib/portway"
    """Where the daemon keeps what must survive a restart."""
    control_socket: Annotated[OneLine, Field(min_length=1)] = "portway.sock"
    """The Unix socket for `portway status` and its like, relative to state_dir."""
    pki_dir: Annotated[OneLine, Field(min_length=1)] = "pki"
    """The directory of `portway pki`."""
    node: OneLine = ""
    """This host's name in the connection log; empty for its host name."""
    plane: Literal["auto", "native", "python"] = "auto"
    """What moves packets: "native" code, "python", or "auto" for the native one where it can be had."""
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    """How many threads move packets natively, for each endpoint; 0 for as many as there are cores."""
    log: models_logs.Log = models_logs.Log()
    """How the daemon logs."""
    connection_log: models_logs.ConnectionLog = models_logs.ConnectionLog()
    """Where the connection log goes."""


class Authentication(Section):
    """`[endpoint.authentication]`: how clients prove who they are."""

    type: Literal["certificate-authentication"]
    """The kind: "certificate-authentication"."""
    certificate_revocation_list: CrlFile | None = None
    """Which certificates are revoked, as "pki/crl.pem"."""
    client_root_certificate_chain: CertificateFile
    """The authorities that client certificates must come from, as "pki/ca.crt"."""
    groups_from: Literal["subject.OU", "subject.O", "san.email-domain"] | None = None
    """Which part of a certificate names the client's groups."""

    @field_validator("certificate_revocation_list")
    @classmethod
    def _check_crl(cls, file: CrlFile | None, info: ValidationInfo) -> CrlFile | None:
        if file and file.content:
            refuse(certificates.crl_problems(file.content, surroundings_of(info).now))
        return file

    @field_validator("client_root_certificate_chain")
    @classmethod
    def _check_roots(cls, file: CertificateFile, info: ValidationInfo) -> CertificateFile:
        if file.content:
            crl = info.data.get("certificate_revocation_list")
            lists = crl.content if crl else None
            refuse(certificates.client_root_problems(file.content, lists, surroundings_of(info).now))
        return file


class ControlChannel(Section):
    """`[endpoint.control_channel]`: how control packets are protected before TLS begins."""

    accept: Annotated[ListOf[Protection], Field(min_length=1)]
    """The protections that clients may use, the one for new profiles first, as ["tls-crypt-v2", "tls-crypt"]."""
    tls_crypt_key: Annotated[StaticKeyFile | None, Field(validate_default=True)] = None
    """The key of "tls-crypt", as "pki/tls-crypt.key"."""
    tls_auth_key: Annotated[StaticKeyFile | None, Field(validate_default=True)] = None
    """The key of "tls-auth", as "pki/tls-auth.key"."""
    tls_auth_digest: Digest = "SHA1"
    """What "tls-auth" signs with: the clients' `auth`."""
    tls_auth_direction: Literal[0, 1, "both"] = 0
    """The gateway's key direction: 0, 1, or "both" where clients have none."""
    tls_crypt_v2_server_key: Annotated[TlsCryptV2ServerKeyFile | None, Field(validate_default=True)] = None
    """The key of "tls-crypt-v2", as "pki/tls-crypt-v2.key"."""
    tls_crypt_v2_max_age_days: Annotated[int, Field(ge=1, le=36500)] | None = None
    """The age at which a client's tls-crypt-v2 key is refused."""

    @field_validator("tls_crypt_key", "tls_auth_key", "tls_crypt_v2_server_key")
    @classmethod
    def _check_presence(cls, file: object, info: ValidationInfo) -> object:
        protection = {
            "tls_crypt_key": "tls-crypt",
            "tls_auth_key": "tls-auth",
            "tls_crypt_v2_server_key": "tls-crypt-v2",
        }[info.field_name or ""]
        if file is None and protection in info.data.get("accept", ()):
            raise WrongValue(
                f'missing, yet accept names "{protection}"; name its key (`portway pki init` makes one), '
                "or take it out of accept"
            )
        return file

    @field_validator("tls_crypt_v2_max_age_days")
    @classmethod
    def _check_age_is_needed(cls, days: int | None, info: ValidationInfo) -> int | None:
        if days is not None and "tls-crypt-v2" not in info.data.get("accept", ("tls-crypt-v2",)):
            raise WrongValue('has no meaning while accept does not name "tls-crypt-v2"; take one out or the other in')
        return days


class DataChannel(Section):
    """`[endpoint.data_channel]`: what protects packets inside the tunnel."""

    data_ciphers: Annotated[ListOf[Cipher], Field(min_length=1)] = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
    """The ciphers that clients may use, the best first."""
    auth: Digest = "SHA1"
    """The digest of the CBC ciphers."""
    tls_ekm: bool = True
    """Whether keys come from the TLS exporter where a client can."""
    renegotiate_after_s: Count = 3600
    """When the gateway renegotiates keys, in seconds; 0 leaves it to the clients."""
    renegotiate_after_bytes: Annotated[int, Field(ge=0, le=2**62)] = 0
    """When the gateway renegotiates keys, in octets; 0 is the cipher's own limit."""
    renegotiate_after_packets: Annotated[int, Field(ge=0, le=2**32)] = 0
    """When the gateway renegotiates keys, in packets; 0 is the cipher's own limit."""
    transition_window_s: Annotated[int, Field(ge=1, le=2**31)] = 3600
    """How long a replaced key is still accepted."""
    mtu: Annotated[int, Field(ge=576, le=9000)] = 1500
    """The largest packet inside the tunnel."""
    mssfix: Annotated[int, Field(ge=0, le=9000)] = 1492
    """The largest datagram that TCP inside the tunnel may lead to; 0 for no limit."""
    udp_offload: bool = True
    """Whether the kernel may join and cut datagrams for the gateway."""
    tun_offload: bool = True
    """Whether TCP segments from clients may be joined on their way to the TUN device."""


class Keepalive(Section):
    """`[endpoint.keepalive]`: how silence is told from death."""

    interval_s: Seconds = 10
    """After how long a silence each side says that it is there."""
    timeout_s: Seconds = 60
    """After how long a silence a client reconnects; the gateway waits twice as long."""

    @field_validator("timeout_s")
    @classmethod
    def _check_order(cls, timeout_s: int, info: ValidationInfo) -> int:
        interval_s = info.data.get("interval_s", 0)
        if timeout_s < 2 * interval_s:
            raise WrongValue(
                f"is {timeout_s}, less than twice interval_s ({interval_s}), so one lost packet would end a session"
            )
        return timeout_s


class Handshake(Section):
    """`[endpoint.handshake]`: what clients may cost before they have proved themselves."""

    timeout_s: Annotated[int, Field(ge=5, le=600)] = 60
    """How long a handshake may take."""
    max_half_open: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """How many handshakes may be under way."""
    max_half_open_per_prefix: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """How many handshakes may be under way from one /24 (IPv4) or /56 (IPv6)."""
    max_stateless_replies: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """How many first packets are answered in each stateless_reply_window_s, with and without a control key apart."""
    stateless_reply_window_s: Seconds = 10
    """The time that max_stateless_replies counts in."""


class TargetNetwork(Section):
    """`[[endpoint.target_network]]`: a network behind the gateway."""

    name: Name
    """What routes call it, as "office"."""
    interface: InterfaceName
    """The host's interface that leads there, as "eth1"."""
    cidr: Network
    """Its addresses, as "10.20.0.0/24"."""
    nat: bool = True
    """Whether targets see the gateway's address in place of the client's."""
    gateway: Address | None = None
    """The next hop to what lies behind it."""


class Route(Section):
    """`[[endpoint.route]]`: where traffic for a destination goes."""

    destination: Network
    """The network, as "10.20.0.0/24", or "0.0.0.0/0" for the rest of the world."""
    target: Name
    """The name of a target network, or "local" for client to client."""
    description: OneLine = ""
    """For people."""


class AuthorizationRule(Section):
    """`[[endpoint.authorization_rule]]`: who may reach a destination."""

    destination: Network
    """The network, as "10.20.0.0/24"."""
    group: Group | None = None
    """The group that may reach it."""
    all: bool = False
    """Whether every client may reach it."""
    description: OneLine = ""
    """For people."""

    @model_validator(mode="after")
    def _check_who(self) -> Self:
        if self.all and self.group is not None:
            raise WrongValue("names a group and says `all = true`; take one of them out")
        if not self.all and self.group is None:
            raise WrongValue('must say who: `group = "…"` for one group, or `all = true` for every client')
        return self


class Endpoint(Section):
    """`[[endpoint]]`: sockets, an address pool, a TUN device, routes and rules."""

    name: Name
    """What logs and commands call it, as "main"."""
    description: OneLine = ""
    """For people."""
    listen: ListenAddress = IPv4Address("0.0.0.0")  # noqa: S104 - a gateway is there to be reached
    """The host's address that clients come to."""
    transport_protocol: Annotated[ListOf[Literal["udp", "tcp"]], Field(min_length=1)] = ("udp", "tcp")
    """Over what clients come, as ["udp", "tcp"]."""
    vpn_port: Annotated[int, Field(ge=1, le=65535)] = 443
    """The port, the same for UDP and TCP."""
    public_hostname: HostName = ""
    """The name or address that exported profiles connect to."""
    client_cidr_block: Network
    """The range that clients get their addresses from, as "10.80.0.0/22"."""
    server_key: PrivateKeyFile
    """The key of the gateway's certificate, as "pki/server.key"."""
    server_certificate: CertificateFile
    """The gateway's certificate and the chain behind it, as "pki/server.crt"."""
    split_tunnel: bool = True
    """Whether clients send only the destinations of routes through the tunnel, or everything."""
    dns_servers: ListOf[Address] = ()
    """The DNS servers that clients use."""
    search_domains: ListOf[DomainName] = ()
    """The domains that clients append to short names."""
    tls_version_min: Literal["1.2", "1.3"] = "1.2"
    """The least TLS version."""
    session_timeout_hours: Annotated[float, Field(gt=0, le=8760, allow_inf_nan=False)] = 24
    """How long a session may last."""
    disconnect_on_session_timeout: bool = True
    """Whether a session that has lasted that long ends until its user logs in again; if not, its client reconnects."""
    login_banner: Banner = ""
    """What clients show their users when they have connected."""
    client_route_enforcement: bool = False
    """Whether clients with a full tunnel send what is for their own local network into it, too."""
    max_clients: Count = 0
    """The most sessions at once; 0 for as many as there are addresses."""
    sessions_per_client: Count = 1
    """How many sessions one certificate name may hold; 0 for any number."""
    clients_reachable: bool = False
    """Whether target networks may open connections to clients."""
    authentication: Authentication
    """The table [endpoint.authentication]."""
    control_channel: ControlChannel
    """The table [endpoint.control_channel]; `accept = ["none"]` is what AWS does."""
    connection_log: models_logs.EndpointConnectionLog = models_logs.EndpointConnectionLog()
    """Where the records of its connections go."""
    data_channel: DataChannel = DataChannel()
    """Ciphers, key life and packet sizes."""
    keepalive: Keepalive = Keepalive()
    """How silence is told from death."""
    handshake: Handshake = Handshake()
    """What clients may cost before they have proved themselves."""
    target_network: Tables[TargetNetwork] = ()
    """The networks behind the gateway."""
    route: Tables[Route] = ()
    """Where traffic goes."""
    authorization_rule: Tables[AuthorizationRule] = ()
    """Who may reach what; what no rule allows is denied."""

    @field_validator("server_certificate")
    @classmethod
    def _check_certificate(cls, file: CertificateFile, info: ValidationInfo) -> CertificateFile:
        if file.content:
            key = info.data.get("server_key")
            refuse(
                certificates.server_certificate_problems(
                    file.content, key.content if key else None, surroundings_of(info).now
                )
            )
        return file

    @field_validator("data_channel")
    @classmethod
    def _check_digests(cls, data_channel: DataChannel, info: ValidationInfo) -> DataChannel:
        control_channel = info.data.get("control_channel")
        has_cbc = any(cipher.endswith("-CBC") for cipher in data_channel.data_ciphers)
        if not has_cbc or control_channel is None or "tls-auth" not in control_channel.accept:
            return data_channel
        if control_channel.tls_auth_digest != data_channel.auth:
            raise WrongValue(
                f"says auth = {shown(data_channel.auth)} for the CBC ciphers, and control_channel.tls_auth_digest is "
                f"{shown(control_channel.tls_auth_digest)}; OpenVPN has one `auth` for both, so make them the same"
            )
        return data_channel


class ConfigFile(Section):
    """The whole file."""

    gateway: Gateway = Gateway()
    """What the daemon has once."""
    log_group: Tables[models_logs.LogGroup] = ()
    """Other places for the records of connections."""
    store: models_service.Store = models_service.Store()
    """Where endpoints made at run time are kept."""
    api: models_service.Api = models_service.Api()
    """Where callers make them."""
    network: Tables[models_service.OfferedNetwork] = ()
    """The networks that they may reach."""
    endpoint_defaults: models_service.EndpointDefaults = models_service.EndpointDefaults()
    """What they get where the API has no word for it."""
    endpoint: Annotated[Tables[Endpoint], Field(validate_default=True)] = ()
    """The endpoints that this file declares."""

    @field_validator("endpoint")
    @classmethod
    def _check_purpose(cls, endpoints: tuple[Endpoint, ...], info: ValidationInfo) -> tuple[Endpoint, ...]:
        """Refuse a file that lost its content: it would take everything down."""
        if not endpoints and not info.data.get("network", True):
            raise WrongValue(
                "missing, and there is no [[network]] either, so nothing could be reached; declare an endpoint, "
                "or networks for endpoints made at run time"
            )
        return endpoints
