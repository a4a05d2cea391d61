"""What a deployment decides about its API: plain values, from the configuration file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Quotas", "ServiceSettings"]


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many there may be; AWS's numbers, and 0 for no limit."""

    endpoints: int = 5
    authorization_rules_per_endpoint: int = 200
    routes_per_association: int = 100
    crl_entries: int = 20_000
    security_groups_per_association: int = 5
    security_groups: int = 2500
    rules_per_security_group: int = 60
    sessions_per_terminated_user: int = 0
    """AWS has 5; here a user's sessions end together."""
    tags_per_resource: int = 50


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Names that ARNs and replies carry, and quotas."""

    region: str = "local"
    account_id: str = "000000000000"
    dns_suffix: str = ""
    """The domain under which clients find endpoints, as `vpn.example.com`: an endpoint's `dnsName`. Where there is
    none, `public_hostname` stands there."""
    public_hostname: str = ""
    """What exported profiles connect to."""
    endpoint_listen: str = "0.0.0.0"  # noqa: S104 - a gateway is there to be reached
    """The address where endpoints made at run time listen."""
    control_channel: Literal["tls-crypt", "none"] = "tls-crypt"
    """How their control packets are protected before TLS begins; exported profiles say the same."""
    quotas: Quotas = field(default_factory=Quotas)
