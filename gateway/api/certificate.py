"""What the API proves itself with: the configured certificate, or one of its own that the built-in authority issues.

Owns how TLS is served. Blocks: runs in threads. Must not know HTTP.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from gateway.pki import PkiError, ServiceCertificate, looks_like_host

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.settings import ApiSettings, GatewaySettings

__all__ = ["CertificateError", "api_names", "make_tls_context", "own_certificate_file", "serving_context"]

_NAME = "portway-api"
_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - addresses that a certificate cannot name


class CertificateError(Exception):
    """There is no certificate that the API could serve with; the text is a sentence for the administrator."""


def make_tls_context(settings: GatewaySettings) -> ssl.SSLContext:
    """Make a context with the certificate that there is now; its own is renewed first where that is due.

    Always a new one: OpenSSL's must not change while another thread begins a connection with it. Raises
    `CertificateError`.
    """
    certificate, key = settings.api.certificate, settings.api.private_key
    try:
        if certificate is None or key is None:
            own = _own_certificate(settings)
            own.ensure(api_names(settings.api))
            certificate, key = own.certificate_file, own.key_file
        return serving_context(certificate, key)
    except PkiError as error:
        raise CertificateError(str(error)) from error
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(f"The API cannot use {certificate} with {key}: {error}.") from error


def serving_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Make a context for HTTP/1.1 over TLS 1.2 and later. Raises what `ssl` raises."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


def own_certificate_file(settings: GatewaySettings) -> Path:
    """Where the API's own certificate is, for callers to trust where there is no authority."""
    return _own_certificate(settings).certificate_file


def api_names(settings: ApiSettings) -> list[str]:
    """The names by which callers may reach the API: its own, this host's, and the addresses that it listens on."""
    hosts = [address.rpartition(":")[0].strip("[]") for address in settings.listen]
    names = [settings.public_hostname, socket.gethostname(), "localhost", "127.0.0.1", "::1", *hosts]
    return list(dict.fromkeys(name for name in names if name and name not in _ANYWHERE and looks_like_host(name)))


def _own_certificate(settings: GatewaySettings) -> ServiceCertificate:
    return ServiceCertificate(settings.state_dir / "api", settings.pki_dir, _NAME)
