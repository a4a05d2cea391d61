"""The libraries that can do the AEADs: they agree with each other, and the one that cannot be had is not used."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.nativeplane.keys import BACK_ENDS, CIPHERS, SOURCES, key_library, native
from tests.unit.tunnel.nativeplane.library import program
from tunnel.data_channel import NotAuthentic

if TYPE_CHECKING:
    from tunnel.data_keys import Cipher

HERE = Path(__file__).parent
LIBCRYPTO, IPSEC_MB = "libcrypto", "intel-ipsec-mb"
AEADS = pytest.mark.parametrize(
    "cipher", [cipher for cipher in CIPHERS if cipher.is_aead], ids=lambda cipher: cipher.value
)
BOTH_WAYS = pytest.mark.parametrize(("one", "other"), [(LIBCRYPTO, IPSEC_MB), (IPSEC_MB, LIBCRYPTO)])
FORMS = pytest.mark.parametrize("peer_id", [None, 7])
EACH = pytest.mark.parametrize("back_end", BACK_ENDS)
payloads = st.binary(min_size=1, max_size=1600) | st.integers(1, 9000).map(lambda size: b"\x5a" * size)


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | (environment or {}))
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


@AEADS
@FORMS
@BOTH_WAYS
@given(texts=st.lists(payloads, min_size=1, max_size=4))
def test_what_one_seals_the_other_would_have_sealed_and_opens(
    cipher: Cipher, peer_id: int | None, one: str, other: str, texts: list[bytes]
) -> None:
    sealing, same = native(cipher, peer_id, of=one), native(cipher, peer_id, of=other)
    opening = native(cipher, peer_id, server=False, of=other)
    for text in texts:
        packet = sealing.seal(text)
        assert packet == same.seal(text)
        assert opening.open_untrusted(packet) == text


@AEADS
@EACH
@given(text=payloads, data=st.data())
def test_no_tag_but_the_right_one_opens_a_packet(
    cipher: Cipher, back_end: str, text: bytes, data: st.DataObject
) -> None:
    packet = native(cipher, of=back_end).seal(text)
    right = packet[8:24]
    tags = [
        bytes(16),
        b"\xff" * 16,
        bytes(octet ^ 0xFF for octet in right),
        data.draw(st.binary(min_size=16, max_size=16)),
    ]
    opening = native(cipher, server=False, of=back_end)
    for tag in set(tags) - {right}:
        with pytest.raises(NotAuthentic):
            opening.open_untrusted(packet[:8] + tag + packet[24:])
    assert opening.open_untrusted(packet) == text


@EACH
def test_nothing_beside_a_packet_is_touched_and_no_key_is_left_in_memory(back_end: str) -> None:
    key_library(of=back_end)
    flags = (*BACK_ENDS[back_end], "-D_GNU_SOURCE", "-Wl,--wrap=free")
    assert run([str(program(*SOURCES, str(HERE / "key_edges.c"), flags=flags))]) == ""


class TestChoice:
    """What is used, by a program that has only this to say."""

    @pytest.fixture
    def chosen(self, tmp_path: Path) -> str:
        source = tmp_path / "chosen.c"
        source.write_text(
            '#include <stdio.h>\n#include "aead.h"\nint main(void) { return puts(aead_backend()) < 0; }\n'
        )
        return str(program(*SOURCES, str(source)))

    def test_it_is_the_library_that_is_there(self, chosen: str) -> None:
        key_library(of=IPSEC_MB)
        assert run([chosen]) == f"{IPSEC_MB}\n"

    @pytest.mark.parametrize(
        "broken",
        [
            {"VERSION": "IMB_VERSION_NUM + 1"},
            {"PROCESSOR": "IMB_ARCH_SSE"},
            {"PROCESSOR": "IMB_ARCH_NONE"},
            {"ERROR": "IMB_ERR_SELFTEST"},
            {"imb_get_errno": "another_name"},
            {"free_mb_mgr": "another_name"},
        ],
        ids=str,
    )
    def test_one_that_is_not_as_it_should_be_is_left_alone(
        self, chosen: str, broken: dict[str, str], tmp_path: Path
    ) -> None:
        key_library(of=IPSEC_MB)
        assert self.with_library(chosen, broken, tmp_path) == f"{LIBCRYPTO}\n"

    def with_library(self, chosen: str, broken: dict[str, str], directory: Path) -> str:
        """What is chosen where a library of that name comes first: `broken` in that way."""
        sound = {"VERSION": "IMB_VERSION_NUM", "PROCESSOR": "IMB_ARCH_AVX512", "ERROR": "0"}
        flags = [f"-D{name}={value}" for name, value in (sound | broken).items()]
        for major in (1, 2):
            target = str(directory / f"libIPSec_MB.so.{major}")
            run(["cc", "-shared", "-fPIC", *flags, "-o", target, str(HERE / "broken_ipsec_mb.c")])
        return run([chosen], {"LD_LIBRARY_PATH": str(directory)})

    def test_a_sound_one_would_be_taken(self, chosen: str, tmp_path: Path) -> None:
        key_library(of=IPSEC_MB)
        assert self.with_library(chosen, {}, tmp_path) == f"{IPSEC_MB}\n"
