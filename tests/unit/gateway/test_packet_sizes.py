import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.packet_sizes import OUTER_IP, OUTER_TRANSPORT, largest_segment
from tunnel.data_channel import sealing_key
from tunnel.data_keys import Cipher, DataKey, split_key_block
from tunnel.plane import Path, Transport

UDP4 = Path(Transport.UDP, ("198.51.100.7", 1))


def test_the_default_is_openvpns() -> None:
    assert largest_segment(1492, 1500, UDP4, Cipher.AES_256_GCM, "SHA1") == 1400


def test_zero_leaves_segments_alone() -> None:
    assert largest_segment(0, 1500, UDP4, Cipher.AES_256_GCM, "SHA1") == 0


def test_a_segment_fits_the_tunnel_too() -> None:
    assert largest_segment(1492, 1200, UDP4, Cipher.AES_256_GCM, "SHA1") == 1160


@pytest.mark.parametrize("host", ["198.51.100.7", "2001:db8::7"])
@given(st.integers(700, 9000), st.sampled_from(list(Cipher)), st.sampled_from(["SHA1", "SHA256", "SHA512"]), st.data())
def test_a_full_segment_fills_the_packet_and_one_octet_more_may_not_fit(
    host: str, mssfix: int, cipher: Cipher, auth: str, data: st.DataObject
) -> None:
    path = Path(data.draw(st.sampled_from(Transport)), (host, 1))
    send, receive = split_key_block(os.urandom(256), server=True)
    key = sealing_key(DataKey(0, cipher, send, receive, auth), peer_id=1)
    outer = OUTER_IP[6 if ":" in host else 4] + OUTER_TRANSPORT[path.transport]
    segment = largest_segment(mssfix, 9000, path, cipher, auth)
    assert outer + len(key.seal(bytes(segment + 40))) <= mssfix
    assert outer + len(key.seal(bytes(segment + 41))) > mssfix
