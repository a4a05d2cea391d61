from dataclasses import replace

import pytest

from gateway.endpoint_settings import Terms, plane_settings
from policy import ControlChannel, ControlChannelProtection, HandshakeLimits, ServerCertificate
from tests.unit.gateway.world import make_spec
from tunnel.data_keys import Cipher
from tunnel.errors import KeyFileError, TlsConfigError
from tunnel.plane import Transport

KEYS = ControlChannel(
    accept=tuple(ControlChannelProtection),
    tls_crypt_key=bytes(256),
    tls_auth_key=bytes(range(256)),
    tls_crypt_v2_server_key=bytes(128),
    tls_crypt_v2_max_age_days=2,
    tls_auth_direction=None,
    tls_auth_digest="SHA256",
)


def test_every_accepted_protection_has_its_key() -> None:
    keys = Terms.of(make_spec(control_channel=KEYS)).front_door._keys
    assert keys.plain
    assert keys.tls_crypt is not None
    assert keys.tls_auth is not None
    assert keys.tls_auth.octets == bytes(range(256))
    assert keys.tls_crypt_v2 is not None
    assert keys.tls_auth_direction.name == "BIDIRECTIONAL"
    assert keys.tls_auth_digest == "SHA256"
    assert keys.max_client_key_age_s == 2 * 86_400


def test_a_key_that_is_configured_and_not_accepted_opens_nothing() -> None:
    keys = Terms.of(make_spec(control_channel=replace(KEYS, accept=(ControlChannelProtection.TLS_CRYPT,)))).front_door
    assert keys._keys.tls_auth is None
    assert keys._keys.tls_crypt_v2 is None
    assert not keys._keys.plain


def test_the_data_channel_is_what_the_spec_says() -> None:
    spec = make_spec()
    data = replace(spec.data_channel, data_ciphers=("CHACHA20-POLY1305", "AES-256-CBC"), tls_ekm=False)
    config = Terms.of(replace(spec, data_channel=data)).config
    assert config.data_ciphers == (Cipher.CHACHA20_POLY1305, Cipher.AES_256_CBC)
    assert not config.tls_ekm


def test_the_plane_listens_where_the_spec_says_within_its_limits() -> None:
    spec = make_spec(transport_protocol=("tcp",), vpn_port=1443, handshake=HandshakeLimits(max_half_open=7))
    settings = plane_settings(
        replace(spec, data_channel=replace(spec.data_channel, renegotiate_after_bytes=5, renegotiate_after_packets=6))
    )
    assert settings.transports == {Transport.TCP}
    assert settings.port == 1443
    assert settings.streams.unproven == 7
    assert (settings.wear.octets, settings.wear.packets) == (5, 6)
    assert str(settings.gateway) == "10.80.0.1"


def test_what_openssl_or_the_key_files_refuse_is_known_at_once() -> None:
    certificate = replace(make_spec().server_certificate, private_key=b"none")
    with pytest.raises(TlsConfigError, match="cannot be used for TLS"):
        Terms.of(make_spec(server_certificate=certificate))
    with pytest.raises(TlsConfigError):
        Terms.of(make_spec(server_certificate=ServerCertificate(b"", b"")))
    with pytest.raises(KeyFileError, match="256 octets"):
        Terms.of(make_spec(control_channel=replace(KEYS, tls_crypt_key=b"short")))
