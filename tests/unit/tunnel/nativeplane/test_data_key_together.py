"""One key under many threads; `together.c` begins them all at once."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from tests.unit.tunnel.nativeplane.keys import (
    CIPHERS,
    LAST_PACKET_ID,
    KeyProgress,
    KeySettings,
    key_library,
    key_of,
    make_key,
    native,
)
from tests.unit.tunnel.nativeplane.library import Buffer, Span
from tunnel.data_keys import Cipher

pytestmark = pytest.mark.usefixtures("each_back_end")

THREADS = 8


def together(function: str, settings: KeySettings, packets: Buffer, size: int) -> int:
    library = key_library(str(Path(__file__).with_name("together.c")))
    work = getattr(library, function)
    work.argtypes, work.restype = (ctypes.c_void_p, ctypes.c_uint, Span, ctypes.c_size_t), ctypes.c_size_t
    error, key = make_key(settings)
    assert error == 0
    try:
        return int(work(key, settings.workers, packets.span, size))
    finally:
        library.data_key_free(key)


def sealed_together(count: int, progress: KeyProgress) -> tuple[int, list[bytes]]:
    size = native(Cipher.AES_256_GCM).sealed_size(1)
    memory = Buffer(b"", count * THREADS * size)
    settings = KeySettings.of(key_of(Cipher.AES_256_GCM), 7, workers=THREADS, progress=progress)
    done = together("seal_together", settings, memory, size)
    octets = memory.octets()
    packets = [octets[at : at + size] for at in range(0, len(octets), size)]
    return done, [packet for packet in packets if any(packet)]


def test_no_two_packets_get_the_same_id() -> None:
    count = 2000
    done, packets = sealed_together(count, KeyProgress())
    ids = sorted(int.from_bytes(packet[4:8], "big") for packet in packets)
    assert done == count * THREADS
    assert ids == list(range(1, count * THREADS + 1))
    opening = native(Cipher.AES_256_GCM, server=False)
    for packet in sorted(packets, key=lambda packet: packet[4:8]):
        assert opening.open_untrusted(packet) == b"\1"


def test_together_they_stop_at_the_last_id() -> None:
    done, packets = sealed_together(1000, KeyProgress(sealed_packets=LAST_PACKET_ID - 3000))
    assert done == 3000
    assert {int.from_bytes(packet[4:8], "big") for packet in packets} == set(
        range(LAST_PACKET_ID - 2999, LAST_PACKET_ID + 1)
    )


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda cipher: cipher.value)
def test_each_packet_opens_for_one_of_them(cipher: Cipher) -> None:
    sealing = native(cipher)
    packets = [sealing.seal(b"payload") for _ in range(1000)]
    settings = KeySettings.of(key_of(cipher, server=False), 7, workers=THREADS)
    memory = Buffer(b"".join(packets))
    assert together("open_together", settings, memory, len(packets[0])) == len(packets)
