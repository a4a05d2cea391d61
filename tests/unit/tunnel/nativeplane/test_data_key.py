from __future__ import annotations

import ctypes
import errno
import hmac
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.nativeplane import keys
from tests.unit.tunnel.nativeplane.keys import (
    CIPHERS,
    DIGESTS,
    LAST_PACKET_ID,
    REPLAY_WINDOW,
    SOURCES,
    KeyProgress,
    KeySettings,
    NativeKey,
    key_library,
    key_of,
    make_key,
    native,
)
from tests.unit.tunnel.nativeplane.library import program
from tunnel.data_channel import NotAuthentic, Replayed, WearLimits, opening_key, sealing_key
from tunnel.data_keys import Cipher
from tunnel.errors import BadPacket

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("each_back_end")

MOST_FAILURES = 1 << 36
MOST_OVERHEAD = 128
EVERY_CIPHER = pytest.mark.parametrize("cipher", CIPHERS, ids=lambda cipher: cipher.value)
FORMS = pytest.mark.parametrize("peer_id", [None, 0, 7, 0xFFFFFE])
payloads = st.binary(min_size=1, max_size=1600)
auths = st.sampled_from(DIGESTS)


class TestAgainstThePythonKeys:
    @EVERY_CIPHER
    @FORMS
    @given(texts=st.lists(payloads, max_size=5), key_id=st.integers(0, 7), auth=auths)
    def test_what_c_seals_python_opens(
        self, cipher: Cipher, peer_id: int | None, texts: list[bytes], key_id: int, auth: str
    ) -> None:
        sealing = NativeKey(KeySettings.of(key_of(cipher, key_id=key_id, auth=auth), peer_id))
        opening = opening_key(key_of(cipher, server=False, key_id=key_id, auth=auth))
        for text in texts:
            packet = sealing.seal(text)
            assert packet[0] == (0x30 if peer_id is None else 0x48) | key_id
            assert peer_id is None or packet[1:4] == peer_id.to_bytes(3, "big")
            assert opening.open_untrusted(packet) == text
        assert sealing.key_id == key_id
        assert sealing.progress.sealed_packets == opening.packets == len(texts)
        assert sealing.progress.sealed_octets == opening.octets

    @EVERY_CIPHER
    @FORMS
    @given(texts=st.lists(payloads, max_size=5), key_id=st.integers(0, 7), auth=auths)
    def test_what_python_seals_c_opens(
        self, cipher: Cipher, peer_id: int | None, texts: list[bytes], key_id: int, auth: str
    ) -> None:
        sealing = sealing_key(key_of(cipher, key_id=key_id, auth=auth), peer_id=peer_id)
        opening = native(cipher, server=False, auth=auth)
        for text in texts:
            assert opening.open_untrusted(sealing.seal(text)) == text
        assert opening.progress.greatest_opened == len(texts)
        assert opening.progress.opened_octets == sealing.octets

    @FORMS
    @pytest.mark.parametrize(
        "cipher", [cipher for cipher in CIPHERS if cipher.is_aead], ids=lambda cipher: cipher.value
    )
    @given(texts=st.lists(payloads, min_size=1, max_size=3))
    def test_aead_packets_are_the_same_octet_by_octet(
        self, cipher: Cipher, peer_id: int | None, texts: list[bytes]
    ) -> None:
        ours, python = native(cipher, peer_id), sealing_key(key_of(cipher), peer_id=peer_id)
        assert [ours.seal(text) for text in texts] == [python.seal(text) for text in texts]


class TestSealing:
    @EVERY_CIPHER
    @FORMS
    @given(text=payloads, auth=auths)
    def test_a_packet_is_as_long_as_was_said(self, cipher: Cipher, peer_id: int | None, text: bytes, auth: str) -> None:
        key = native(cipher, peer_id, auth=auth)
        python = sealing_key(key_of(cipher, auth=auth), peer_id=peer_id)
        assert key.sealed_size(len(text)) == len(key.seal(text)) == len(python.seal(text))
        assert key.sealed_size(len(text)) <= len(text) + MOST_OVERHEAD

    @EVERY_CIPHER
    def test_only_what_the_packet_needs_is_written(self, cipher: Cipher) -> None:
        key = native(cipher)
        sealed = key.try_seal(b"payload", room=key.sealed_size(7) + 40)
        assert sealed.size == key.sealed_size(7)
        assert sealed.room[sealed.size :] == bytes(40)
        assert native(cipher, server=False).open_untrusted(sealed.room[: sealed.size]) == b"payload"

    @EVERY_CIPHER
    def test_without_room_nothing_is_written_and_no_packet_id_spent(self, cipher: Cipher) -> None:
        key = native(cipher)
        for room in range(key.sealed_size(7)):
            sealed = key.try_seal(b"payload", room=room)
            assert sealed.size == 0
            assert not any(sealed.room)
        assert key.progress.sealed_packets == 0

    @EVERY_CIPHER
    def test_neither_an_empty_payload_nor_an_unknown_worker_is_served(self, cipher: Cipher) -> None:
        key = native(cipher, workers=2)
        assert key.try_seal(b"", room=200).size == 0
        assert key.try_seal(b"x", room=200, worker=2).size == 0
        assert key.progress.sealed_packets == 0

    @EVERY_CIPHER
    def test_a_key_never_seals_under_the_same_packet_id_again(self, cipher: Cipher) -> None:
        key = native(cipher, progress=KeyProgress(sealed_packets=LAST_PACKET_ID - 1))
        assert opening_key(key_of(cipher, server=False)).open_untrusted(key.seal(b"the last one")) == b"the last one"
        for _ in range(3):
            assert key.seal(b"one too many") == b""
        assert key.progress.sealed_packets == LAST_PACKET_ID

    def test_no_two_packets_have_the_same_iv(self) -> None:
        key = native(Cipher.AES_256_CBC)
        assert len({key.seal(b"payload")[24:40] for _ in range(100)}) == 100


class TestOpening:
    @EVERY_CIPHER
    @FORMS
    @given(data=st.data())
    def test_no_changed_octet_goes_unnoticed(self, cipher: Cipher, peer_id: int | None, data: st.DataObject) -> None:
        packet = bytearray(native(cipher, peer_id).seal(b"a payload of some octets"))
        # The HMAC of the CBC ciphers does not cover the head; nor does DATA_V1 authenticate its one octet.
        first = 4 if peer_id is not None and not cipher.is_aead else 1
        at = data.draw(st.integers(first, len(packet) - 1))
        packet[at] ^= data.draw(st.integers(1, 255))
        with pytest.raises(NotAuthentic):
            native(cipher, server=False).open_untrusted(bytes(packet))

    @EVERY_CIPHER
    @given(junk=st.binary(max_size=200), auth=auths)
    def test_junk_is_refused_and_counted(self, cipher: Cipher, junk: bytes, auth: str) -> None:
        key = native(cipher, auth=auth)
        for first in (b"", b"\x30", b"\x48", b"\x48\x00\x00\x07"):
            with pytest.raises(NotAuthentic):
                key.open_untrusted(first + junk)
        assert key.progress.failures == 4
        assert key.progress.greatest_opened == 0

    @EVERY_CIPHER
    @FORMS
    @pytest.mark.parametrize("auth", DIGESTS)
    def test_every_truncation_is_refused(self, cipher: Cipher, peer_id: int | None, auth: str) -> None:
        packet = native(cipher, peer_id, auth=auth).seal(b"payload")
        key = native(cipher, server=False, auth=auth)
        for size in range(len(packet)):
            with pytest.raises(NotAuthentic):
                key.open_untrusted(packet[:size])
        assert key.open_untrusted(packet) == b"payload"
        assert key.progress.failures == len(packet)

    @EVERY_CIPHER
    def test_a_packet_opens_once(self, cipher: Cipher) -> None:
        packet = native(cipher).seal(b"payload")
        key = native(cipher, server=False, workers=2)
        assert key.open_untrusted(packet) == b"payload"
        for worker in (0, 1):
            with pytest.raises(Replayed):
                key.open_untrusted(packet, worker)
        assert key.progress.opened_octets == len(b"payload")
        assert key.progress.failures == 0

    @EVERY_CIPHER
    def test_packets_open_in_any_order_within_the_window(self, cipher: Cipher) -> None:
        sealing, key = native(cipher), native(cipher, server=False)
        first, *packets = [sealing.seal(b"payload") for _ in range(REPLAY_WINDOW + 1)]
        for packet in reversed(packets):
            assert key.open_untrusted(packet) == b"payload"
        with pytest.raises(Replayed):
            key.open_untrusted(first)

    @EVERY_CIPHER
    def test_a_forged_packet_id_does_not_move_the_window(self, cipher: Cipher) -> None:
        sealing, key = native(cipher), native(cipher, server=False)
        packets = [sealing.seal(b"payload") for _ in range(3)]
        with pytest.raises(NotAuthentic):
            key.open_untrusted(packets[0][:4] + b"\xff\xff\xff\xff" + packets[0][8:])
        assert [key.open_untrusted(packet) for packet in packets] == [b"payload"] * 3

    @EVERY_CIPHER
    def test_an_authentic_packet_id_of_zero_is_a_replay(self, cipher: Cipher) -> None:
        sealing = sealing_key(key_of(cipher), peer_id=7)
        sealing.packets = -1
        with pytest.raises(Replayed):
            native(cipher, server=False).open_untrusted(sealing.seal(b"payload"))

    @EVERY_CIPHER
    def test_after_too_many_forgeries_a_key_opens_nothing(self, cipher: Cipher) -> None:
        packet = native(cipher).seal(b"payload")
        key = native(cipher, server=False, progress=KeyProgress(failures=MOST_FAILURES - 1))
        with pytest.raises(NotAuthentic):
            key.open_untrusted(packet[:-1] + bytes([packet[-1] ^ 1]))
        with pytest.raises(NotAuthentic):
            key.open_untrusted(packet)

    @EVERY_CIPHER
    def test_an_unknown_worker_is_refused(self, cipher: Cipher) -> None:
        packet = native(cipher).seal(b"payload")
        with pytest.raises(NotAuthentic):
            native(cipher, server=False).open_untrusted(packet, 1)


def sealed_cbc(padded: bytes, cipher: Cipher, auth: str) -> bytes:
    """A packet of the right key around whatever was encrypted."""
    half, iv = key_of(cipher).send, bytes(16)
    encryptor = BlockCipher(AES(half.cipher[: cipher.key_size]), CBC(iv)).encryptor()
    covered = iv + encryptor.update(padded) + encryptor.finalize()
    size = {"SHA1": 20, "SHA256": 32, "SHA512": 64}[auth]
    return b"\x48\x00\x00\x07" + hmac.digest(half.hmac[:size], covered, auth.lower()) + covered


@pytest.mark.parametrize("cipher", [Cipher.AES_128_CBC, Cipher.AES_256_CBC])
@given(
    padded=st.integers(1, 3).flatmap(lambda blocks: st.binary(min_size=16 * blocks, max_size=16 * blocks)), auth=auths
)
def test_authentic_cbc_packets_open_exactly_where_python_opens_them(cipher: Cipher, padded: bytes, auth: str) -> None:
    count = padded[0] % 20  # of padding that is mostly right
    for text in (padded, padded[: len(padded) - count] + bytes([count]) * min(count, len(padded))):
        packet = sealed_cbc(text[:16] if len(text) % 16 else text, cipher, auth)
        key, python = native(cipher, server=False, auth=auth), opening_key(key_of(cipher, server=False, auth=auth))
        assert outcome(key.open_untrusted, packet) == outcome(python.open_untrusted, packet)


def outcome(open_untrusted: Callable[[bytes], bytes], packet: bytes) -> bytes | type[BadPacket]:
    try:
        return open_untrusted(packet)
    except BadPacket as error:
        return type(error)


class TestWear:
    counters = st.sampled_from([0, 1, 9, 10, 999, 1000, 0xFEFF_FFFF, 0xFF00_0000, LAST_PACKET_ID]) | st.integers(
        0, LAST_PACKET_ID
    )
    octets = st.sampled_from([0, 999, 1000, (1 << 30) * 800, (1 << 30) * 1400]) | st.integers(0, (1 << 40) - 1)
    limits = st.builds(
        WearLimits, octets=st.sampled_from([0, 1000, 1 << 39]), packets=st.sampled_from([0, 10, 1 << 31])
    )

    carried = st.builds(
        KeyProgress, sealed_packets=counters, sealed_octets=octets, greatest_opened=counters, opened_octets=octets
    )

    @EVERY_CIPHER
    @given(limits=limits, carried=carried)
    def test_a_key_is_worn_when_the_python_limits_say_so_of_either_direction(
        self, cipher: Cipher, limits: WearLimits, carried: KeyProgress
    ) -> None:
        sealing_worn = limits.reached(cipher, carried.sealed_packets, carried.sealed_octets)
        opening_worn = limits.reached(cipher, carried.greatest_opened, carried.opened_octets)
        assert native(cipher, progress=carried).is_worn(limits) is (sealing_worn or opening_worn)

    @pytest.mark.parametrize("cipher", [Cipher.AES_128_GCM, Cipher.AES_256_GCM], ids=lambda cipher: cipher.value)
    def test_the_block_limit_of_gcm_is_python_s_to_the_octet(self, cipher: Cipher) -> None:
        trigger = ((1 << 36) - 1) // 8 * 7
        for octets, worn in ((16 * (trigger - 2) - 1, False), (16 * (trigger - 2), True)):
            assert WearLimits().reached(cipher, 1, octets) is worn
            progress = KeyProgress(sealed_packets=1, sealed_octets=octets)
            assert native(cipher, progress=progress).is_worn(WearLimits()) is worn

    def test_sealing_and_opening_wear(self) -> None:
        sealing, opening, limits = (
            native(Cipher.AES_256_GCM),
            native(Cipher.AES_256_GCM, server=False),
            WearLimits(packets=2),
        )
        opening.open_untrusted(sealing.seal(b"x"))
        assert not sealing.is_worn(limits)
        assert not opening.is_worn(limits)
        opening.open_untrusted(sealing.seal(b"x"))
        assert sealing.is_worn(limits)
        assert opening.is_worn(limits)


class TestProgress:
    @given(data=st.binary(min_size=ctypes.sizeof(KeyProgress), max_size=ctypes.sizeof(KeyProgress)))
    def test_it_comes_back_as_it_was_given(self, data: bytes) -> None:
        progress = KeyProgress.from_buffer_copy(data)
        progress.sealed_packets &= LAST_PACKET_ID
        again = native(Cipher.AES_256_GCM, progress=progress).progress
        for name, *_ in KeyProgress._fields_:
            if name != "window":
                assert getattr(again, name) == getattr(progress, name)
        assert bytes(again.window) == bytes(progress.window)

    @EVERY_CIPHER
    def test_a_key_goes_on_where_another_stood(self, cipher: Cipher) -> None:
        peer = native(cipher, server=False)
        first = native(cipher)
        packets = [peer.seal(b"up") for _ in range(5)]
        for packet in packets[::2]:
            first.open_untrusted(packet)
        down = first.seal(b"down")
        second = native(cipher, progress=first.progress)
        for packet in packets[::2]:
            with pytest.raises(Replayed):
                second.open_untrusted(packet)
        assert [second.open_untrusted(packet) for packet in packets[1::2]] == [b"up", b"up"]
        assert [peer.open_untrusted(packet) for packet in (down, second.seal(b"more"))] == [b"down", b"more"]


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("cipher", 5),
            ("cipher", LAST_PACKET_ID),
            ("auth", 3),
            ("auth", LAST_PACKET_ID),
            ("key_id", 8),
            ("workers", 0),
            ("peer_id", 1 << 24),
        ],
    )
    def test_what_is_out_of_range_makes_no_key(self, name: str, value: int) -> None:
        settings = KeySettings.of(key_of(Cipher.AES_256_CBC), 7)
        setattr(settings, name, value)
        error, made = make_key(settings)
        assert (error, made.value) == (-errno.EINVAL, None)

    def test_a_packet_id_past_the_last_makes_no_key(self) -> None:
        settings = KeySettings.of(
            key_of(Cipher.AES_256_GCM), 7, progress=KeyProgress(sealed_packets=LAST_PACKET_ID + 1)
        )
        assert make_key(settings)[0] == -errno.EINVAL

    def test_freeing_no_key_is_nothing(self) -> None:
        key_library().data_key_free(None)


def test_a_lack_of_memory_is_an_error_and_aead_packets_need_none() -> None:
    driver = str(Path(__file__).with_name("key_memory.c"))
    command = [program(*SOURCES, driver, flags=keys.BACK_ENDS[keys.back_end])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
