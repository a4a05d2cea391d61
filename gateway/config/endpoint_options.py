"""Portway's own settings of an endpoint made at run time, by the keys of `config.toml`: what AWS has no word for.

They are checked where they are asked for, and again where they are used: what one release stores, another reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from gateway.config.models import Count, DataChannel, Handshake, Keepalive
from gateway.config.section import Section
from gateway.config.values import (  # noqa: TC001 - pydantic reads the annotations
    DomainName,
    HostName,
    ListenAddress,
    ListOf,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EndpointOptions"]


class EndpointOptions(Section):
    """All of them may be left out; None takes what `[endpoint_defaults]` says."""

    listen: ListenAddress | None = None
    """The host's address that clients come to."""
    public_hostname: HostName | None = None
    """The name or address that exported profiles connect to."""
    control_channel: Literal["tls-crypt", "none"] | None = None
    """How control packets are protected before TLS begins."""
    groups_from: Literal["subject.OU", "subject.O", "san.email-domain"] | None = None
    """Which part of a certificate names the client's groups."""
    sessions_per_client: Count | None = None
    """How many sessions one certificate name may hold; 0 for any number."""
    search_domains: ListOf[DomainName] = ()
    """The domains that clients append to short names."""
    tls_version_min: Literal["1.2", "1.3"] = "1.2"
    """The least TLS version."""
    max_clients: Count = 0
    """The most sessions at once; 0 for as many as there are addresses."""
    clients_reachable: bool = False
    """Whether target networks may open connections to clients."""
    data_channel: DataChannel = DataChannel()
    """Ciphers, key life and packet sizes."""
    keepalive: Keepalive = Keepalive()
    """How silence is told from death."""
    handshake: Handshake = Handshake()
    """What clients may cost before they have proved themselves."""

    @classmethod
    def readable(cls, settings: Mapping[str, Any]) -> EndpointOptions:
        """What stands in the store; settings that this release cannot read count as none, and gateways say so."""
        try:
            return cls.model_validate(settings)
        except ValidationError:
            return cls()
