"""Both sides of a connection, joined by a path that is good, bad, or hostile."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.lab.authority import LabAuthority
from tests.unit.tunnel.link import PUSH, UNIX_TIME, Link, Weather, client_tls, server_config
from tunnel.client import MODERN_CLIENT, ClientConfig, ClientConnection
from tunnel.control_wrap import TlsAuthWrap, TlsCryptWrap
from tunnel.data_keys import Cipher
from tunnel.events import (
    AuthenticationRequested,
    Closed,
    CloseReason,
    Established,
    ExitRequested,
    KeyDerived,
    KeyExpired,
)
from tunnel.front_door import FrontDoorKeys
from tunnel.key_session import KeyStage
from tunnel.peer_info import IvProto
from tunnel.static_key import KeyDirection, StaticKey
from tunnel.tls import TlsClientContext, TlsServerContext
from tunnel.tls_crypt_v2 import Metadata, generate_client_key, generate_server_key
from tunnel.wire import Opcode, opcode_of

if TYPE_CHECKING:
    from pathlib import Path

KEY = StaticKey(bytes(range(256)))
SERVER_KEY = generate_server_key()
GOOD = Weather()
BAD = Weather(loss=0.2, duplication=0.2, jitter_s=0.5)
OLD_CLIENT = IvProto.DATA_V2


def protections() -> dict[str, tuple[FrontDoorKeys, dict[str, object]]]:
    client_key = generate_client_key(SERVER_KEY, Metadata.created_at(UNIX_TIME))
    auth = TlsAuthWrap(KEY, KeyDirection.INVERSE, "SHA256")
    return {
        "none": (FrontDoorKeys(plain=True), {}),
        "tls-auth": (
            FrontDoorKeys(tls_auth=KEY, tls_auth_digest="SHA256"),
            {"wrap_key": auth, "base_key": KEY},
        ),
        "tls-crypt": (
            FrontDoorKeys(tls_crypt=KEY),
            {"wrap_key": TlsCryptWrap(KEY, server=False), "base_key": KEY},
        ),
        "tls-crypt-v2": (FrontDoorKeys(tls_crypt_v2=SERVER_KEY), {"client_key": client_key}),
    }


def client_config(**changes: object) -> ClientConfig:
    return ClientConfig(**({"tls": client_tls()} | changes))  # type: ignore[arg-type]  # checked by the dataclass's user


def reasons(link: Link) -> list[CloseReason]:
    return [event.reason for event in link.server_events if isinstance(event, Closed)]


@pytest.mark.parametrize("reliable", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("protection", ["none", "tls-auth", "tls-crypt", "tls-crypt-v2"])
def test_connects_and_renegotiates_from_both_sides(protection: str, reliable: bool) -> None:
    keys, settings = protections()[protection]
    link = Link(client_config(**settings), door_keys=keys, reliable=reliable)
    link.run(5)
    link.client.renegotiate(link.now)
    link.run(5)
    assert link.server is not None
    link.server.renegotiate(link.now)
    link.run(5)
    link.assert_same_keys(3)
    assert link.activated(link.server_events) == [0, 1, 2]
    assert Established() in link.server_events
    assert not reasons(link)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("protection", ["none", "tls-crypt-v2"])
def test_connects_and_renegotiates_over_a_bad_path(protection: str, seed: int) -> None:
    keys, settings = protections()[protection]
    link = Link(client_config(**settings), door_keys=keys, weather=BAD, seed=seed)
    link.run(50)
    assert link.server is not None
    link.server.renegotiate(link.now)
    link.run(50)
    link.assert_same_keys(2)
    assert link.activated(link.server_events) == [0, 1]


@pytest.mark.parametrize("tls_version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    "proto", [OLD_CLIENT, OLD_CLIENT | IvProto.REQUEST_PUSH, MODERN_CLIENT], ids=["2.4", "2.5", "2.6"]
)
def test_clients_of_each_age_get_keys_and_options(proto: IvProto, tls_version: str) -> None:
    link = Link(client_config(tls=client_tls(tls_version), proto=proto))
    link.run(10)
    link.client.renegotiate(link.now)
    link.run(10)
    link.assert_same_keys(2)
    assert link.server is not None
    assert link.server.tls_version == f"TLSv{tls_version}"
    assert "peer-id 5" in link.client.options
    assert "topology subnet" in link.client.options


class OpenVpn3Client(ClientConnection):
    """Drops messages that arrive before its own key-method-2 block is acknowledged, as OpenVPN 3 does."""

    def _message_received(self, message: str, now: float) -> None:
        if self._block_was_acknowledged:
            super()._message_received(message, now)

    def receive_packet(self, packet: bytes, now: float) -> None:
        key = self._keys.get(0)
        exchanged = key is not None and key.stage is not KeyStage.HANDSHAKE and key.stage is not KeyStage.KEY_EXCHANGE
        self._block_was_acknowledged = exchanged and key is not None and key.all_acknowledged(now)
        super().receive_packet(packet, now)


def test_nothing_is_pushed_before_the_client_listens() -> None:
    link = Link(client_config(extra_peer_info=(("IV_VER", "3.11.1"), ("IV_MTU", "1600"))))
    link.client = OpenVpn3Client(link.client_config, reliable_transport=False, now=link.now, unix_time=link.unix_time)
    link.run(5)
    assert Established() in link.client_events


def test_keys_come_from_the_prf_where_the_exporter_is_switched_off() -> None:
    link = Link(client_config(), config=server_config(tls_ekm=False))
    link.run(5)
    link.assert_same_keys(1)
    assert not any("tls-ekm" in option for option in link.client.options)


def test_key_ids_go_from_seven_to_one_and_old_keys_expire() -> None:
    link = Link(client_config(), config=server_config(transition_window_s=30))
    link.run(5)
    for _ in range(8):
        link.client.renegotiate(link.now)
        link.run(5)
    link.assert_same_keys(9)
    assert link.activated(link.server_events) == [0, 1, 2, 3, 4, 5, 6, 7, 1]
    link.run(31)
    expired = [event.key_id for event in link.server_events if isinstance(event, KeyExpired)]
    assert expired == [0, 1, 2, 3, 4, 5, 6, 7]


def test_the_server_renegotiates_by_its_own_clock() -> None:
    link = Link(client_config(), config=server_config(renegotiate_after_s=100))
    link.run(350)
    assert link.activated(link.server_events)[:4] == [0, 1, 2, 3]


def test_both_sides_may_begin_to_renegotiate_at_once() -> None:
    link = Link(client_config())
    link.run(5)
    assert link.server is not None
    link.client.renegotiate(link.now)
    link.server.renegotiate(link.now)
    link.run(5)
    link.assert_same_keys(2)
    assert link.activated(link.server_events) == [0, 1]


def test_a_client_may_not_renegotiate_without_pause() -> None:
    link = Link(client_config(), weather=Weather(delay_s=0.001))
    link.run(0.5)
    for _ in range(20):
        link.client.renegotiate(link.now)
        link.run(0.1)
    assert len(link.derived(link.server_events)) <= 4


def test_no_configuration_leaves_before_the_client_is_authorised() -> None:
    link = Link(client_config(), authorizes=False)
    link.run(30)
    assert any(isinstance(event, AuthenticationRequested) for event in link.server_events)
    assert not link.client.options
    assert not link.derived(link.server_events)


def test_a_clients_certificates_are_those_by_which_it_was_authorised_last(tmp_path: Path) -> None:
    authority = LabAuthority(tmp_path)
    ca, host = authority.certificate.read_bytes(), authority.server()

    def client_of(name: str) -> TlsClientContext:
        issued = authority.client(name)
        return TlsClientContext(
            server_ca=ca, certificate_chain=issued.certificate.read_bytes(), private_key=issued.key.read_bytes()
        )

    def chain() -> list[str]:
        assert link.server is not None
        return [each.to_cryptography().subject.rfc4514_string() for each in link.server.certificate_chain()]

    context = TlsServerContext(
        certificate_chain=host.certificate.read_bytes(), private_key=host.key.read_bytes(), client_ca=ca
    )
    link = Link(client_config(tls=client_of("ana")), config=server_config(tls=context), authorizes=False)
    link.run(2)
    assert link.server is not None
    assert chain() == []
    link.server.authorize(PUSH, link.now)
    link.run(2)
    own, issuer = chain()
    assert own == "CN=ana"
    link.client._config = replace(link.client._config, tls=client_of("bob"))
    link.client.renegotiate(link.now)
    link.run(2)
    assert chain() == [own, issuer]
    link.server.authorize(None, link.now)
    assert chain() == ["CN=bob", issuer]
    link.run(2)
    assert chain() == ["CN=bob", issuer]
    link.server.abandon(CloseReason.TERMINATED, "over")
    assert chain() == []


@pytest.mark.parametrize(
    ("reason", "proto", "message"),
    [
        (CloseReason.CERTIFICATE_REFUSED, MODERN_CLIENT, "AUTH_FAILED,Not you"),
        (CloseReason.POOL_EXHAUSTED, MODERN_CLIENT, "AUTH_FAILED,TEMP:Not you"),
        (CloseReason.POOL_EXHAUSTED, OLD_CLIENT, "AUTH_FAILED,Not you"),
    ],
)
def test_a_refused_client_reads_why_and_may_try_again_where_that_helps(
    reason: CloseReason, proto: IvProto, message: str
) -> None:
    link = Link(client_config(proto=proto), authorizes=False)
    link.run(5)
    assert link.server is not None
    link.server.refuse(reason, "Not you", link.now)
    link.run(10)
    assert Closed(CloseReason.AUTHENTICATION_FAILED, message) in link.client_events
    assert reasons(link) == [reason]


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"ciphers": ("BF-CBC",)}, CloseReason.NO_COMMON_CIPHER, "no shared cipher"),
        ({"options": "V4,dev-type tap,tls-client"}, CloseReason.UNSUPPORTED_CLIENT, "dev tun"),
        ({"options": "V4,dev-type tun,mtu-dynamic,tls-client"}, CloseReason.UNSUPPORTED_CLIENT, "fragment"),
        ({"options": "V4,dev-type tun,comp-lzo,tls-client"}, CloseReason.UNSUPPORTED_CLIENT, "compression"),
        ({"proto": MODERN_CLIENT | IvProto.NCP_P2P}, CloseReason.UNSUPPORTED_CLIENT, "peer-to-peer"),
    ],
)
def test_clients_that_cannot_be_served_are_told(changes: dict[str, object], reason: CloseReason, words: str) -> None:
    link = Link(client_config(**changes))
    link.run(20)
    assert reasons(link) == [reason]
    assert any(isinstance(event, Closed) and words in event.text for event in link.client_events)
    assert not link.derived(link.server_events)


def test_the_cbc_cipher_is_used_where_it_is_configured() -> None:
    link = Link(client_config(ciphers=("AES-256-CBC",)), config=server_config(data_ciphers=(Cipher.AES_256_CBC,)))
    link.run(5)
    link.assert_same_keys(1)


def test_a_client_that_leaves_is_answered_for_five_seconds() -> None:
    link = Link(client_config())
    link.run(5)
    link.client.exit(link.now)
    link.run(1)
    assert ExitRequested() in link.server_events
    assert not reasons(link)
    link.run(5)
    assert reasons(link) == [CloseReason.CLIENT_EXIT]


def test_restart_and_halt_reach_the_client() -> None:
    for verb, words in (("restart", "RESTART,[P]:bye"), ("halt", "HALT,bye")):
        link = Link(client_config())
        link.run(5)
        getattr(link.server, verb)(CloseReason.SHUTDOWN, "bye", link.now)
        link.run(10)
        assert Closed(CloseReason.TERMINATED, words) in link.client_events
        assert reasons(link) == [CloseReason.SHUTDOWN]


def test_the_linger_deadline_is_never_extended() -> None:
    link = Link(client_config())
    link.run(5)
    assert link.server is not None
    link.weather.loss = 1.0
    link.server.halt(CloseReason.TERMINATED, "bye", link.now)
    link.run(3)
    link.server.halt(CloseReason.TERMINATED, "again", link.now)
    link.server.restart(CloseReason.SHUTDOWN, "again", link.now)
    link.run(2.1)
    assert reasons(link) == [CloseReason.TERMINATED]


@pytest.mark.parametrize("silent_after", range(1, 14))
def test_a_client_that_stops_at_any_step_times_out(silent_after: int) -> None:
    link = Link(client_config())
    heard = 0

    def count(packet: bytes, *, to_server: bool, send=link._send) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        nonlocal heard
        heard += to_server
        if not to_server or heard <= silent_after:
            send(packet, to_server=to_server)

    link._send = count  # type: ignore[method-assign]
    link.run(62)
    if link.server is not None and Established() not in link.server_events:
        assert reasons(link) == [CloseReason.HANDSHAKE_TIMEOUT]
        assert link.server.get_timer() is None


def test_garbage_for_an_established_connection_moves_only_a_counter() -> None:
    link = Link(client_config())
    link.run(5)
    assert link.server is not None
    for opcode in range(32):
        for size in (0, 1, 8, 13, 14, 30, 1400):
            link.server.receive_packet(bytes([opcode << 3]) + os.urandom(size), link.now)
    assert link.server.bad_packets > 200
    assert not link.server.packets_to_send(link.now)
    assert link.server.next_event() is None
    link.client.renegotiate(link.now)
    link.run(5)
    link.assert_same_keys(2)


class NotTls:
    """Stands where a client's TLS should be, and says something else."""

    handshake_complete = False

    def __init__(self) -> None:
        self.said = [b"GET / HTTP/1.1\r\n\r\n"]

    def receive(self, ciphertext: bytes) -> None:
        """Whatever the server says is ignored."""

    def read(self) -> bytes:
        return b""

    def ciphertext(self) -> bytes:
        return self.said.pop() if self.said else b""


def test_tls_garbage_ends_the_handshake_after_an_alert() -> None:
    link = Link(client_config())
    link.client._keys[0].tls = NotTls()  # type: ignore[assignment]
    link.run(10)
    assert reasons(link) == [CloseReason.TLS_FAILED]


def test_a_control_message_of_64_kilobytes_ends_the_connection() -> None:
    link = Link(client_config())
    link.run(5)
    link.client._keys[0].tls.write(b"A" * 65536)
    link.run(20)
    assert reasons(link) == [CloseReason.PROTOCOL_ERROR]


def test_packets_stay_under_1250_octets() -> None:
    keys, settings = protections()["tls-crypt-v2"]
    link = Link(client_config(**settings), door_keys=keys)
    sizes: list[int] = []
    send = link._send

    def measure(packet: bytes, *, to_server: bool) -> None:
        if not to_server:
            sizes.append(len(packet))
            assert opcode_of(packet) not in (Opcode.DATA_V1, Opcode.DATA_V2)
        send(packet, to_server=to_server)

    link._send = measure  # type: ignore[method-assign]
    link.run(5)
    assert Established() in link.server_events
    assert max(sizes) <= 1250


def test_earlier_keys_are_still_accepted_when_keys_follow_each_other_quickly() -> None:
    link = Link(client_config(), config=server_config(transition_window_s=60))
    link.run(5)
    for _ in range(3):
        link.client.renegotiate(link.now)
        link.run(5)
    assert not [event for event in link.server_events if isinstance(event, KeyExpired)]
    link.run(60)
    assert [event.key_id for event in link.server_events if isinstance(event, KeyExpired)] == [0, 1, 2]


def test_a_key_id_that_comes_round_again_gives_up_its_old_key_first() -> None:
    link = Link(client_config(), config=server_config(transition_window_s=3600))
    link.run(5)
    for _ in range(8):
        link.client.renegotiate(link.now)
        link.run(5)
    about_one = [
        type(event)
        for event in link.server_events
        if (isinstance(event, KeyDerived) and event.key.key_id == 1)
        or (isinstance(event, KeyExpired) and event.key_id == 1)
    ]
    assert about_one == [KeyDerived, KeyExpired, KeyDerived]


def test_a_refusal_waits_until_the_client_listens() -> None:
    link = Link(client_config(ciphers=("BF-CBC",)))
    link.client = OpenVpn3Client(link.client_config, reliable_transport=False, now=link.now, unix_time=link.unix_time)
    link.run(10)
    assert any(isinstance(event, Closed) and "no shared cipher" in event.text for event in link.client_events)
    assert reasons(link) == [CloseReason.NO_COMMON_CIPHER]


def test_a_changed_digest_is_for_new_clients_only() -> None:
    ciphers = (Cipher.AES_256_CBC,)
    link = Link(client_config(ciphers=("AES-256-CBC",)), config=server_config(data_ciphers=ciphers))
    link.run(5)
    assert link.server is not None
    link.server.adopt(server_config(data_ciphers=ciphers, auth="SHA256"), link.now)
    link.client.renegotiate(link.now)
    link.run(5)
    assert [event.key.auth for event in link.derived(link.server_events)] == ["SHA1", "SHA1"]


@pytest.mark.parametrize(("before_s", "after_s"), [(0, 100), (1000, 100), (100, 200)])
def test_changed_renegotiation_times_hold_for_keys_that_are_in_use(before_s: float, after_s: float) -> None:
    link = Link(client_config(), config=server_config(renegotiate_after_s=before_s))
    link.run(50)
    assert link.server is not None
    link.server.adopt(server_config(renegotiate_after_s=after_s), link.now)
    link.run(0.9 * after_s - 51)
    assert link.activated(link.server_events) == [0]
    link.run(0.1 * after_s + 2)
    assert link.activated(link.server_events) == [0, 1]


def test_a_key_that_changed_times_make_too_old_is_renegotiated_soon_but_not_with_all_others_at_once() -> None:
    moments = set()
    for shortening in (0, 255):
        link = Link(client_config(), config=server_config(renegotiate_after_s=1000))
        link.run(500)
        assert link.server is not None
        link.server._shortening = shortening / 2550
        link.server.adopt(server_config(renegotiate_after_s=100), link.now)
        moments.add(link.server.get_timer())
    assert moments == {500 + 100, 510 + 100}


def test_renegotiation_that_is_switched_off_is_off_for_keys_that_are_in_use() -> None:
    link = Link(client_config(), config=server_config(renegotiate_after_s=100))
    link.run(50)
    assert link.server is not None
    link.server.adopt(server_config(renegotiate_after_s=0), link.now)
    link.run(500)
    assert link.activated(link.server_events) == [0]


def test_a_changed_transition_window_holds_for_keys_that_are_retired_already() -> None:
    link = Link(client_config(), config=server_config(transition_window_s=1000))
    link.run(5)
    link.client.renegotiate(link.now)
    link.run(5)
    assert link.server is not None
    link.server.adopt(server_config(transition_window_s=20), link.now)
    link.run(10)
    assert KeyExpired(0) not in link.server_events
    link.run(10)
    assert KeyExpired(0) in link.server_events
