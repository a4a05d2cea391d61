"""Translates an endpoint's spec into the terms of the tunnel package.

The spec is policy's and speaks AWS's language; front door, TLS and plane speak OpenVPN's. Neither knows the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from policy import ControlChannelProtection
from tunnel import (
    Cipher,
    FrontDoor,
    FrontDoorKeys,
    KeyDirection,
    PlaneSettings,
    ServerConfig,
    ServerKey,
    StaticKey,
    StreamLimits,
    TlsServerContext,
    Transport,
    WearLimits,
)

if TYPE_CHECKING:
    from policy import ControlChannel, EndpointSpec

__all__ = ["Terms", "plane_settings"]

DAY_S = 86_400

_DIRECTIONS = {0: KeyDirection.NORMAL, 1: KeyDirection.INVERSE, None: KeyDirection.BIDIRECTIONAL}


@dataclass(frozen=True, slots=True)
class Terms:
    """A spec with what OpenSSL and the key files make of it: whoever holds this knows that it can be applied."""

    spec: EndpointSpec
    config: ServerConfig
    front_door: FrontDoor

    @classmethod
    def of(cls, spec: EndpointSpec) -> Self:
        """Prepare a spec. Raises `tunnel.errors.LocalError` where certificates or keys cannot be used."""
        return cls(spec, _server_config(spec), _front_door(spec))


def _front_door(spec: EndpointSpec) -> FrontDoor:
    limits = spec.handshake
    return FrontDoor(
        _front_door_keys(spec.control_channel),
        handshake_timeout_s=limits.timeout_s,
        max_replies=limits.max_stateless_replies,
        reply_window_s=limits.stateless_reply_window_s,
    )


def _server_config(spec: EndpointSpec) -> ServerConfig:
    data = spec.data_channel
    return ServerConfig(
        tls=TlsServerContext(
            certificate_chain=spec.server_certificate.certificate_chain,
            private_key=spec.server_certificate.private_key,
            client_ca=spec.authentication.client_root_certificate_chain,
            crl=spec.authentication.certificate_revocation_list,
            minimum_version=spec.tls_version_min,
        ),
        data_ciphers=tuple(Cipher(name) for name in data.data_ciphers),
        auth=data.auth,
        handshake_timeout_s=spec.handshake.timeout_s,
        transition_window_s=data.transition_window_s,
        renegotiate_after_s=data.renegotiate_after_s,
        tls_ekm=data.tls_ekm,
    )


def plane_settings(spec: EndpointSpec) -> PlaneSettings:
    """What the endpoint's data plane is made with."""
    data = spec.data_channel
    return PlaneSettings(
        listen=spec.listen,
        port=spec.vpn_port,
        transports=frozenset(Transport(name) for name in spec.transport_protocol),
        network=spec.client_cidr_block,
        gateway=spec.gateway_address,
        mtu=data.mtu,
        udp_offload=data.udp_offload,
        tun_offload=data.tun_offload,
        wear=WearLimits(packets=data.renegotiate_after_packets, octets=data.renegotiate_after_bytes),
        streams=StreamLimits(
            unproven=spec.handshake.max_half_open,
            unproven_per_prefix=spec.handshake.max_half_open_per_prefix,
        ),
    )


def _front_door_keys(control: ControlChannel) -> FrontDoorKeys:
    """Only the keys of accepted protections: a key that is merely configured opens nothing."""
    v2_key = _accepted(control, ControlChannelProtection.TLS_CRYPT_V2, control.tls_crypt_v2_server_key)
    crypt_key = _accepted(control, ControlChannelProtection.TLS_CRYPT, control.tls_crypt_key)
    auth_key = _accepted(control, ControlChannelProtection.TLS_AUTH, control.tls_auth_key)
    days = control.tls_crypt_v2_max_age_days
    return FrontDoorKeys(
        tls_crypt_v2=ServerKey(v2_key) if v2_key else None,
        tls_crypt=StaticKey(crypt_key) if crypt_key else None,
        tls_auth=StaticKey(auth_key) if auth_key else None,
        tls_auth_direction=_DIRECTIONS[control.tls_auth_direction],
        tls_auth_digest=control.tls_auth_digest,
        plain=ControlChannelProtection.NONE in control.accept,
        max_client_key_age_s=None if days is None else days * DAY_S,
    )


def _accepted(control: ControlChannel, protection: ControlChannelProtection, key: bytes | None) -> bytes | None:
    return key if protection in control.accept else None
