"""The sections of `config.toml` for endpoints made at run time: store, API, networks, and what new endpoints get.

As in `models`, which these are part of: the docstring of a field is what a person is told who leaves it out.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from gateway.config import certificates
from gateway.config.files import CertificateFile, PrivateKeyFile, surroundings_of
from gateway.config.problems import WrongValue, refuse
from gateway.config.section import Section
from gateway.config.values import (
    Address,
    HostName,
    InterfaceName,
    ListenAddress,
    ListOf,
    Name,
    Network,
    OneLine,
    shown,
)

__all__ = ["Api", "EndpointDefaults", "OfferedNetwork", "Quotas", "Store"]

Days = Annotated[int, Field(ge=0, le=36500)]
Quota = Annotated[int, Field(ge=0, le=2**31)]
FilePath = Annotated[OneLine, Field(min_length=1)]


def _check_url(text: str) -> str:
    scheme = text.partition(":")[0].partition("+")[0]
    if text and scheme not in {"sqlite", "postgresql"}:
        raise WrongValue('must begin with "postgresql:" or "sqlite:", or be empty for a file in state_dir')
    return text


def _check_socket_address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        address = None
    is_bracketed = host.startswith("[") and host.endswith("]")
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535
    if not colon or address is None or not is_port or is_bracketed != (address.version == 6):
        raise WrongValue(f'must be an address and a port, as "127.0.0.1:8443" or "[::1]:8443", not {shown(text)}')
    return text


def _check_region(text: str) -> str:
    if not text.isascii() or not text.replace("-", "").isalnum() or text != text.lower():
        raise WrongValue(f'must be lower-case letters, digits and hyphens, as "eu-central-1", not {shown(text)}')
    return text


def _check_account(text: str) -> str:
    if len(text) != 12 or not (text.isascii() and text.isdecimal()):
        raise WrongValue(f'must be twelve digits, as "000000000000", not {shown(text)}')
    return text


SocketAddress = Annotated[str, AfterValidator(_check_socket_address)]


class Store(Section):
    """`[store]`: where endpoints, connections, usage and accounts of changes are kept."""

    url: Annotated[OneLine, AfterValidator(_check_url)] = ""
    """The database, as "postgresql://portway@db.example.com/portway"; empty for SQLite in state_dir."""
    key_file: FilePath = "store.key"
    """The file with the key that seals secrets in the store, relative to state_dir."""
    connection_log_days: Days = 90
    """How long the store keeps the connection log, in days; 0 for ever."""
    usage_days: Days = 400
    """How long the store keeps what `portway usage` accounts for, in days; 0 for ever."""
    audit_days: Days = 400
    """How long the store keeps who changed what, in days; 0 for ever."""


class Quotas(Section):
    """`[api.quotas]`: how many of each there may be; 0 for any number."""

    endpoints: Quota = 5
    """Endpoints."""
    authorization_rules_per_endpoint: Quota = 200
    """Authorization rules of an endpoint."""
    routes_per_association: Quota = 100
    """Routes by one target network of an endpoint."""
    crl_entries: Quota = 20_000
    """Revoked certificates in a revocation list."""
    security_groups_per_association: Quota = 5
    """Security groups of one target network of an endpoint."""
    security_groups: Quota = 2500
    """Security groups."""
    rules_per_security_group: Quota = 60
    """Rules of a security group, in each direction."""
    sessions_per_terminated_user: Quota = 0
    """Sessions that ending a user's sessions may end at once."""
    tags_per_resource: Quota = 50
    """Tags of an object."""


class Api(Section):
    """`[api]`: the AWS-compatible API, which `portway api` serves."""

    enabled: bool = True
    """Whether there is one."""
    listen: Annotated[ListOf[SocketAddress], Field(min_length=1)] = ("127.0.0.1:8443",)
    """Where callers with access keys come to by HTTPS, as ["127.0.0.1:8443"]."""
    socket: FilePath = "api.sock"
    """The Unix socket for callers on this host, who need no keys; relative to state_dir."""
    private_key: PrivateKeyFile | None = None
    """The key of the API's certificate, as "pki/api.key"."""
    certificate: Annotated[CertificateFile | None, Field(validate_default=True)] = None
    """The API's certificate and the chain behind it, as "pki/api.crt"."""
    region: Annotated[OneLine, Field(min_length=1), AfterValidator(_check_region)] = "on-premises-1"
    """The region that callers sign for, and that ARNs name."""
    account_id: Annotated[str, AfterValidator(_check_account)] = "000000000000"
    """The account in ARNs: twelve digits."""
    public_hostname: HostName = ""
    """The name or address by which callers elsewhere reach the API."""
    metrics_listen: ListOf[SocketAddress] = ()
    """Where /metrics is, and /healthz in full, by HTTP and without a key, as ["127.0.0.1:8444"]."""
    dns_suffix: HostName = ""
    """The domain under which clients find endpoints, as "vpn.example.com"."""
    quotas: Quotas = Quotas()
    """How many of each there may be."""

    @field_validator("certificate")
    @classmethod
    def _check_certificate(cls, file: CertificateFile | None, info: ValidationInfo) -> CertificateFile | None:
        if "private_key" not in info.data:
            return file
        key = info.data["private_key"]
        if (file is None) != (key is None):
            raise WrongValue(
                "goes with private_key: name both, or neither to have one issued by `portway pki`'s authority"
            )
        if file and file.content:
            problems = certificates.server_certificate_problems(file.content, key.content, surroundings_of(info).now)
            refuse(problem.replace("server_key", "private_key") for problem in problems)
        return file


class OfferedNetwork(Section):
    """`[[network]]`: a network of this host's that endpoints made at run time may reach."""

    name: Name
    """What people call it, as "office"."""
    cidr: Network
    """Its addresses, as "10.20.0.0/24"."""
    interface: InterfaceName
    """The host's interface that leads there, as "eth1"."""
    next_hop: Address | None = None
    """The next hop to what lies behind it."""
    zone: Name | None = None
    """The availability zone; an endpoint has one network of a zone. Without it the network is a zone of its own."""
    vpc: Name = "main"
    """The VPC: an endpoint's networks are all of one."""
    nat: bool = True
    """Whether targets see the gateway's address in place of the client's."""


class EndpointDefaults(Section):
    """`[endpoint_defaults]`: what endpoints made at run time get where the API has no word for it."""

    listen: ListenAddress = IPv4Address("0.0.0.0")  # noqa: S104 - a gateway is there to be reached
    """The host's address that clients come to."""
    public_hostname: HostName = ""
    """The name or address that exported profiles connect to."""
    control_channel: Literal["tls-crypt", "none"] = "tls-crypt"
    """How control packets are protected before TLS begins: "tls-crypt", or "none" as with AWS."""
    groups_from: Literal["subject.OU", "subject.O", "san.email-domain"] | None = None
    """Which part of a certificate names the client's groups."""
    sessions_per_client: Quota = 0
    """How many sessions one certificate name may hold; 0 for any number, as with AWS."""
