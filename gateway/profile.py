"""The client's side of an endpoint as one file: a complete `.ovpn` that needs no editing, or all of it but who one is.

Owns which directives a profile has, so that OpenVPN 2.4 to 2.7 and OpenVPN Connect all take it; facts about them stand
beside the line that they explain. Must not know where certificates come from.

One choice cannot suit everybody: OpenVPN 2.4 refuses a profile with `tls-crypt-v2`. Where such clients are about, let
the endpoint accept `tls-crypt` or `tls-auth` too, and make their profiles with that protection.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.config.certificates import certificate_name, is_issued_by
from policy import ControlChannelProtection, DataChannel, EndpointSpec, pushed_routes
from tunnel import StaticKey, build_static_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Credentials", "ProfileError", "build_profile", "find_server_authority"]

_AES_GCM = ("AES-256-GCM", "AES-128-GCM")
_SERVER_POLL_S = 10
_DEFAULT_MTU = 1500


class ProfileError(Exception):
    """No working profile can be made; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one client logs in with."""

    name: str
    certificate: str
    """PEM."""
    private_key: str = field(repr=False)
    """PEM."""
    tls_crypt_v2_key: str = field(default="", repr=False)
    """The client's own key in OpenVPN's PEM form; needed where the profile's protection is tls-crypt-v2."""


def build_profile(
    endpoint: EndpointSpec,
    credentials: Credentials | None,
    remotes: Sequence[str],
    *,
    server_authority: str,
    protection: ControlChannelProtection | None = None,
) -> str:
    """Return the profile's text; without `credentials`, one that works once `<cert>` and `<key>` are appended.

    `remotes` are names or addresses of the gateway; none means the endpoint's `public_hostname`. `server_authority` is
    the PEM that the gateway's certificate chains to. `protection` is one that the endpoint accepts, its first where
    none is given. Raises `ProfileError`.
    """
    chosen = _choose_protection(endpoint, protection)
    if credentials is not None:
        _check_issuer(endpoint, credentials)
    hosts = tuple(remotes) or ((endpoint.public_hostname,) if endpoint.public_hostname else ())
    if not hosts:
        raise ProfileError(
            f'The endpoint "{endpoint.name}" has no public_hostname, so say with --remote where clients find it.'
        )
    lines = [
        _title(endpoint, credentials),
        *_connection_lines(endpoint, hosts),
        *_detour_lines(endpoint, hosts),
        *_identity_lines(endpoint),
        *_cipher_lines(endpoint, chosen),
        *_tunnel_lines(endpoint.data_channel),
        *_block("ca", server_authority),
        *_credential_lines(credentials),
        *_protection_lines(endpoint, credentials, chosen),
    ]
    return "\n".join((*lines, ""))


def find_server_authority(endpoint: EndpointSpec, other_authorities: bytes = b"") -> str:
    """Return the PEM of the root that the gateway's certificate chains to, with what lies between. For `build_profile`.

    It is looked for behind the certificate itself, among the client roots and in `other_authorities` (PEM). Raises
    `ProfileError` where the chain does not end in a root.
    """
    own, *chain = x509.load_pem_x509_certificates(endpoint.server_certificate.certificate_chain)
    known = chain + x509.load_pem_x509_certificates(endpoint.authentication.client_root_certificate_chain)
    if other_authorities:
        known += x509.load_pem_x509_certificates(other_authorities)
    found = [own]
    while not is_issued_by(found[-1], found[-1]):
        issuer = next((other for other in known if other not in found and is_issued_by(found[-1], other)), None)
        if issuer is None:
            raise ProfileError(
                f"The issuer of {certificate_name(found[-1])} is not at hand, so clients could not verify the gateway. "
                "Append the certificates up to the root to the file in server_certificate."
            )
        found.append(issuer)
    authorities = found[1:] or found
    return "".join(authority.public_bytes(Encoding.PEM).decode() for authority in authorities)


def _check_issuer(endpoint: EndpointSpec, credentials: Credentials) -> None:
    try:
        certificates = x509.load_pem_x509_certificates(credentials.certificate.encode())
    except ValueError:
        raise ProfileError(f"The certificate of {credentials.name} cannot be read.") from None
    known = x509.load_pem_x509_certificates(endpoint.authentication.client_root_certificate_chain)
    if not any(is_issued_by(certificate, issuer) for certificate in certificates for issuer in known):
        raise ProfileError(
            f'The endpoint "{endpoint.name}" does not know the authority that issued {credentials.name}, and would '
            "refuse it. Take the client from the authority in client_root_certificate_chain."
        )


def _choose_protection(endpoint: EndpointSpec, wanted: ControlChannelProtection | None) -> ControlChannelProtection:
    accepted = endpoint.control_channel.accept
    if wanted is None:
        return accepted[0]
    if wanted not in accepted:
        names = ", ".join(protection.value for protection in accepted)
        raise ProfileError(f'The endpoint "{endpoint.name}" does not accept {wanted.value}. It accepts {names}.')
    return wanted


def _title(endpoint: EndpointSpec, credentials: Credentials | None) -> str:
    if credentials is None:
        return f"# Portway: endpoint {endpoint.name}; append the client's <cert> and <key>"
    return f"# Portway: endpoint {endpoint.name}, client {credentials.name}"


def _connection_lines(endpoint: EndpointSpec, hosts: Sequence[str]) -> Iterator[str]:
    yield "client"
    yield "dev tun"
    for transport in ("udp", "tcp"):  # a client tries them in this order, and UDP is the better tunnel
        if transport in endpoint.transport_protocol:
            yield from (f"remote {host} {endpoint.vpn_port} {transport}" for host in hosts)
    yield f"server-poll-timeout {_SERVER_POLL_S}"  # the default, two minutes, is long where UDP is blocked
    yield "resolv-retry infinite"
    yield "nobind"


def _detour_lines(endpoint: EndpointSpec, hosts: Sequence[str]) -> Iterator[str]:
    """Keep the way to a gateway that lies within its own target network: the tunnel cannot run through itself.

    With `redirect-gateway` clients see to it themselves.
    """
    for host in hosts:
        with contextlib.suppress(AddressValueError):
            if any(IPv4Address(host) in route for route in pushed_routes(endpoint)):
                yield f"route {host} 255.255.255.255 net_gateway"


def _identity_lines(endpoint: EndpointSpec) -> Iterator[str]:
    yield "remote-cert-tls server"
    name = _server_name(endpoint)
    if name:
        yield f"verify-x509-name {_quoted(name)} name"
    yield f"tls-version-min {endpoint.tls_version_min}"


def _server_name(endpoint: EndpointSpec) -> str:
    certificate = x509.load_pem_x509_certificate(endpoint.server_certificate.certificate_chain)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    return name if name.isprintable() else ""


def _cipher_lines(endpoint: EndpointSpec, protection: ControlChannelProtection) -> Iterator[str]:
    ciphers = _offered_ciphers(endpoint.data_channel.data_ciphers)
    yield "ignore-unknown-option data-ciphers"  # 2.4 does not know it
    yield f"data-ciphers {':'.join(ciphers)}"
    yield f"cipher {next((name for name in ciphers if 'CHACHA' not in name), ciphers[0])}"  # for 2.4, which lacks it
    if protection is ControlChannelProtection.TLS_AUTH:
        yield f"auth {endpoint.control_channel.tls_auth_digest}"
    elif any(name.endswith("-CBC") for name in ciphers):
        yield f"auth {endpoint.data_channel.auth}"


def _offered_ciphers(ciphers: Sequence[str]) -> list[str]:
    """Leave out CHACHA20-POLY1305 where the gateway prefers a cipher that every client has.

    The gateway would never choose it, and OpenVPN 2.5 stops at a cipher that its OpenSSL was built without.
    """
    first_known = next((position for position, name in enumerate(ciphers) if name in _AES_GCM), len(ciphers))
    return [name for position, name in enumerate(ciphers) if position <= first_known or "CHACHA" not in name]


def _tunnel_lines(data_channel: DataChannel) -> Iterator[str]:
    if data_channel.renegotiate_after_s:
        yield "reneg-sec 0"  # the gateway renegotiates; both at once would only do the work twice
    if data_channel.mtu != _DEFAULT_MTU:
        yield f"tun-mtu {data_channel.mtu}"  # 2.4 and 2.5 do not take it from the gateway
    yield "persist-tun"  # while it reconnects, nothing leaks past the tunnel; persist-key has no use for inline keys
    yield "verb 3"


def _credential_lines(credentials: Credentials | None) -> Iterator[str]:
    if credentials is not None:
        yield from _block("cert", credentials.certificate)
        yield from _block("key", credentials.private_key)


def _protection_lines(
    endpoint: EndpointSpec, credentials: Credentials | None, protection: ControlChannelProtection
) -> Iterator[str]:
    channel = endpoint.control_channel
    match protection:
        case ControlChannelProtection.TLS_CRYPT_V2:
            if credentials is None or not credentials.tls_crypt_v2_key:
                name = credentials.name if credentials else "the client"
                raise ProfileError(f"A tls-crypt-v2 key of {name} is needed, and there is none.")
            yield from _block("tls-crypt-v2", credentials.tls_crypt_v2_key)
        case ControlChannelProtection.TLS_CRYPT:
            yield from _block("tls-crypt", _static_key_text(channel.tls_crypt_key))
        case ControlChannelProtection.TLS_AUTH:
            if channel.tls_auth_direction is not None:
                yield f"key-direction {1 - channel.tls_auth_direction}"
            yield from _block("tls-auth", _static_key_text(channel.tls_auth_key))
        case ControlChannelProtection.NONE:
            return


def _static_key_text(octets: bytes | None) -> str:
    if octets is None:
        raise ProfileError("The endpoint accepts a protection whose key it does not have. Run `portway check`.")
    return build_static_key(StaticKey(octets))


def _block(name: str, content: str) -> tuple[str, ...]:
    return f"<{name}>", *content.strip().splitlines(), f"</{name}>"


def _quoted(text: str) -> str:
    """Quote a word as OpenVPN's parser wants it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
