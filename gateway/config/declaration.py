"""The shape of a declaration: a file like `config.toml`, of the endpoints that the store is to have.

As in `models`, the docstring of a field is what a person is told who leaves it out, and keys, meanings and defaults are
those of `config.toml` where it has them. What differs follows from where things are: the host's networks are named and
not described, keys of the control channel are Portway's own, and certificates may be those that the store has.

A declaration travels as JSON. There the files that it names have become what is in them, in PEM: see
`declaration_files`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from gateway.config.models import Count, DataChannel, Handshake, Keepalive
from gateway.config.problems import ConfigError, WrongValue
from gateway.config.section import Section
from gateway.config.sentences import problems_of
from gateway.config.values import (
    Address,
    Banner,
    DomainName,
    HostName,
    InterfaceName,
    ListenAddress,
    ListOf,
    Network,
    Tables,
    shown,
)
from policy import DEFAULT_LOG_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "PEM_BEGIN",
    "Authentication",
    "AuthorizationRule",
    "Declaration",
    "Endpoint",
    "Route",
    "SecurityGroup",
    "SecurityGroupRule",
    "TargetNetwork",
    "parse_declaration",
    "settings_of",
]

PEM_BEGIN = "-----BEGIN"
"""What begins a value that is PEM itself."""

_SETTINGS = frozenset(
    {
        *("listen", "public_hostname", "sessions_per_client", "search_domains", "tls_version_min", "max_clients"),
        *("clients_reachable", "data_channel", "keepalive", "handshake"),
    }
)
"""The keys that AWS has no word for, and that stand in an endpoint's settings under the same name."""


def _check_label(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise WrongValue(f"must be one line, without blanks around it, not {shown(text)}")
    return text


def _check_names(what: str, names: Iterable[object]) -> None:
    repeated = sorted({str(name) for name, times in Counter(names).items() if times > 1})
    if repeated:
        raise WrongValue(f"has {what} {', '.join(repeated)} twice; once is enough")


Label = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_check_label)]
Text = Annotated[str, Field(max_length=255)]
GroupName = Annotated[str, Field(min_length=1, max_length=255)]
Certificate = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=-1, le=65535)]


class SecurityGroupRule(Section):
    """`[[security_group.egress]]` and `[[security_group.ingress]]`: connections that a group lets pass."""

    protocol: Annotated[str, Field(min_length=1)] = "all"
    """The protocol: "tcp", "udp", "icmp", a number in quotes, or "all"."""
    from_port: Port | None = None
    """The first port, or the ICMP type; every one where it is left out."""
    to_port: Port | None = None
    """The last port, or the ICMP code; the same port, or every code, where it is left out."""
    cidr: Network | None = None
    """The network on the other side, as "10.20.0.0/24"."""
    group: GroupName | None = None
    """The security group on the other side, by its name."""
    description: Text = ""
    """For people."""

    @model_validator(mode="after")
    def _check_other_side(self) -> Self:
        if (self.cidr is None) == (self.group is None):
            raise WrongValue("must name the other side: cidr or group, and not both")
        if self.from_port is None and self.to_port is not None:
            raise WrongValue("has a to_port and no from_port; add it")
        return self


class SecurityGroup(Section):
    """`[[security_group]]`: a stateful filter by protocol and port. What no rule allows does not pass."""

    name: GroupName
    """What endpoints call it, as "web"."""
    vpc: Label = "main"
    """The VPC whose networks it is for."""
    description: Text = ""
    """For people; the group's name where it is left out."""
    egress: Tables[SecurityGroupRule] = ()
    """Connections that clients open."""
    ingress: Tables[SecurityGroupRule] = ()
    """Connections to clients that target networks open."""
    tags: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Tags by their keys."""


class TargetNetwork(Section):
    """`[[endpoint.target_network]]`: a [[network]] of the host's that clients may reach."""

    name: Label
    """The name of the [[network]], as "office"."""
    interface: InterfaceName | None = None
    """The host's interface that leads there; what it says has to be true."""
    cidr: Network | None = None
    """The network's addresses; what it says has to be true."""
    nat: bool | None = None
    """Whether targets see the gateway's address; what it says has to be true."""
    gateway: Address | None = None
    """The network's next hop; what it says has to be true."""
    security_groups: Annotated[ListOf[GroupName], Field(min_length=1)] | None = None
    """The names of its security groups; those of the endpoint where it is left out."""


class Route(Section):
    """`[[endpoint.route]]`: where traffic for a destination goes."""

    destination: Network
    """The network, as "10.20.0.0/24", or "0.0.0.0/0" for the rest of the world."""
    target: Label
    """The name of a target network, or "local" for client to client."""
    description: Text = ""
    """For people."""


class AuthorizationRule(Section):
    """`[[endpoint.authorization_rule]]`: who may reach a destination."""

    destination: Network
    """The network, as "10.20.0.0/24"."""
    group: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The group that may reach it."""
    all: bool = False
    """Whether every client may reach it."""
    description: Text = ""
    """For people."""

    @model_validator(mode="after")
    def _check_who(self) -> Self:
        if self.all == (self.group is not None):
            raise WrongValue('must say who: `group = "…"` for one group, or `all = true` for every client')
        return self


class Authentication(Section):
    """`[endpoint.authentication]`: how clients prove who they are."""

    type: Literal["certificate-authentication"] = "certificate-authentication"
    """The kind: "certificate-authentication"."""
    client_root_certificate_chain: Certificate
    """The authorities that client certificates must come from: a file as "pki/ca.crt", or an ARN or name."""
    certificate_revocation_list: Annotated[str, Field(min_length=1)] | None = None
    """Which certificates are revoked, as "pki/crl.pem"; the endpoint keeps the list it has where it is left out."""
    groups_from: Literal["subject.OU", "subject.O", "san.email-domain"] | None = None
    """Which part of a certificate names the client's groups; as [endpoint_defaults] has it where it is left out."""


class ControlChannel(Section):
    """`[endpoint.control_channel]`: how control packets are protected before TLS begins."""

    accept: Annotated[ListOf[Literal["tls-crypt", "none"]], Field(min_length=1, max_length=1)]
    """["tls-crypt"], with a key that Portway makes, or ["none"] as with AWS."""


class ConnectionLog(Section):
    """`[endpoint.connection_log]`: where the records of its connections go."""

    enabled: bool = True
    """Whether a log group gets them."""
    group: Annotated[str, Field(min_length=1, max_length=512)] = DEFAULT_LOG_GROUP
    """The log group: "default", or a [[log_group]] of the host's."""
    stream: Annotated[str, Field(max_length=512)] = ""
    """What records are marked with in it; empty for the endpoint's id."""
    include_authorization_policy_context: bool = False
    """Whether records have the context of the authorization policy."""


class Endpoint(Section):
    """`[[endpoint]]`: an endpoint of the store, by its tag `Name`."""

    name: Label
    """Its tag `Name`, as "staff"; the id of an endpoint that has none."""
    description: Text = ""
    """For people."""
    listen: ListenAddress | None = None
    """The host's address that clients come to."""
    transport_protocol: Annotated[ListOf[Literal["udp", "tcp"]], Field(min_length=1)] = ("udp", "tcp")
    """Over what clients come, as ["udp", "tcp"]."""
    vpn_port: Annotated[int, Field(ge=1, le=65535)] = 443
    """The port, the same for UDP and TCP."""
    public_hostname: HostName | None = None
    """The name or address that exported profiles connect to."""
    client_cidr_block: Network
    """The range that clients get their addresses from, as "10.90.0.0/22"."""
    server_certificate: Certificate
    """The gateway's certificate: a file as "pki/server.crt" with its server_key, or the ARN or name of a known one."""
    server_key: Annotated[str, Field(min_length=1)] | None = None
    """The key of a certificate in a file, as "pki/server.key"."""
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
    self_service_portal: bool = False
    """Whether people may fetch profiles by themselves."""
    max_clients: Count = 0
    """The most sessions at once; 0 for as many as there are addresses."""
    sessions_per_client: Count | None = None
    """How many sessions one certificate name may hold; 0 for any number."""
    clients_reachable: bool = False
    """Whether target networks may open connections to clients."""
    vpc: Label | None = None
    """The VPC of its networks; needed where it has security_groups and no network."""
    security_groups: Annotated[ListOf[GroupName], Field(min_length=1)] | None = None
    """The names of the security groups of its networks; the VPC's "default" where it is left out."""
    authentication: Authentication
    """The table [endpoint.authentication]."""
    control_channel: ControlChannel | None = None
    """How control packets are protected; as [endpoint_defaults] has it where it is left out."""
    connection_log: ConnectionLog = ConnectionLog()
    """Where the records of its connections go."""
    data_channel: DataChannel = DataChannel()
    """Ciphers, key life and packet sizes."""
    keepalive: Keepalive = Keepalive()
    """How silence is told from death."""
    handshake: Handshake = Handshake()
    """What clients may cost before they have proved themselves."""
    target_network: Tables[TargetNetwork] = ()
    """The networks of the host's that clients may reach."""
    route: Tables[Route] = ()
    """Where traffic goes, beside the networks themselves."""
    authorization_rule: Tables[AuthorizationRule] = ()
    """Who may reach what; what no rule allows is denied."""
    tags: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Tags by their keys, but for `Name`."""

    @field_validator("connection_log")
    @classmethod
    def _forget_what_is_off(cls, log: ConnectionLog) -> ConnectionLog:
        """Where nothing is logged, the store has no group either."""
        return log if log.enabled else ConnectionLog(enabled=False)

    @field_validator("target_network")
    @classmethod
    def _check_targets(cls, networks: tuple[TargetNetwork, ...]) -> tuple[TargetNetwork, ...]:
        _check_names("the network", (network.name for network in networks))
        return networks

    @field_validator("route")
    @classmethod
    def _check_routes(cls, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        _check_names("the route", (f"{route.destination} to {shown(route.target)}" for route in routes))
        return routes

    @field_validator("authorization_rule")
    @classmethod
    def _check_rules(cls, rules: tuple[AuthorizationRule, ...]) -> tuple[AuthorizationRule, ...]:
        _check_names("the rule", (f"{rule.destination} for {shown(rule.group or 'all')}" for rule in rules))
        return rules

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        is_file = self.server_certificate.startswith(PEM_BEGIN)
        if is_file and self.server_key is None:
            raise WrongValue("has a server_certificate in a file, and no server_key; name the file with its key")
        if not is_file and self.server_key is not None:
            raise WrongValue("has a server_key, and no server_certificate in a file; take the key out")
        return self


class Declaration(Section):
    """The whole file."""

    security_group: Tables[SecurityGroup] = ()
    """Security groups."""
    endpoint: Tables[Endpoint] = ()
    """Endpoints."""

    @field_validator("security_group")
    @classmethod
    def _check_groups(cls, groups: tuple[SecurityGroup, ...]) -> tuple[SecurityGroup, ...]:
        _check_names("the security group", (f"{shown(group.name)} of {shown(group.vpc)}" for group in groups))
        return groups

    @field_validator("endpoint")
    @classmethod
    def _check_endpoints(cls, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        _check_names("the endpoint", (shown(endpoint.name) for endpoint in endpoints))
        return endpoints


def parse_declaration(raw: dict[str, Any]) -> Declaration:
    """Read a declaration whose files have become what is in them. Raises `ConfigError` with all that is wrong."""
    try:
        return Declaration.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(problems_of(error, Declaration, raw)) from None


def settings_of(endpoint: Endpoint) -> dict[str, Any]:
    """What of an endpoint AWS has no word for, by the keys of `EndpointOptions`; defaults are left out."""
    settings: dict[str, Any] = endpoint.model_dump(mode="json", include=set(_SETTINGS), exclude_defaults=True)
    if endpoint.authentication.groups_from is not None:
        settings["groups_from"] = endpoint.authentication.groups_from
    if endpoint.control_channel is not None:
        (settings["control_channel"],) = endpoint.control_channel.accept
    return settings
