from __future__ import annotations

import os
import struct
from typing import Any

import pytest
import pytun
from scapy.layers.inet import IP, TCP

from tests.unit.tunnel.namespaced import in_new_namespace
from tunnel.tun import open_tun
from tunnel.tun_offload import HEADER_SIZE, IFF_VNET_HDR, PLAIN, expects_header, train_header


def headers(**tcp: Any) -> bytes:
    return bytes(IP(src="10.80.0.7", dst="192.0.2.1", flags="DF", id=7, len=1040) / TCP(flags="A", seq=5, **tcp))


@pytest.mark.parametrize("options", [[], [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]])
@pytest.mark.parametrize("size", [2040, 2041, 65_535])
def test_the_kernel_is_told_where_to_cut_and_where_the_checksum_goes(options: list[object], size: int) -> None:
    first = headers(options=options)
    header = train_header(first, size, 1000, last_flags=0x18)
    needs_checksum, tcp_over_ipv4 = 1, 1
    assert struct.unpack("=BBHHHH", header[:HEADER_SIZE]) == (needs_checksum, tcp_over_ipv4, len(first), 1000, 20, 16)
    joined = IP(header[HEADER_SIZE:])
    assert (joined.len, joined.id, joined[TCP].seq, str(joined[TCP].flags)) == (size, 7, 5, "PA")
    right = joined.copy()
    right.delfieldval("chksum")
    assert joined.chksum == IP(bytes(right)).chksum
    pseudo_header = sum(struct.unpack("!4H", header[HEADER_SIZE + 12 : HEADER_SIZE + 20])) + 6 + size - 20
    assert joined[TCP].chksum == pseudo_header % 0xFFFF


@in_new_namespace
def test_the_kernel_says_whether_a_device_wants_headers() -> None:
    plain, offloading = open_tun(offload=False), open_tun()
    try:
        assert (plain.offload, offloading.offload) == (False, True)
        assert not expects_header(plain.fd)
        assert expects_header(offloading.fd)
        assert len(PLAIN) == HEADER_SIZE
    finally:
        plain.close()
        offloading.close()


def test_what_is_no_device_wants_no_headers() -> None:
    with open(os.devnull, "rb") as other:  # noqa: PTH123 - a descriptor is what is wanted
        assert not expects_header(other.fileno())


@in_new_namespace
def test_a_kernel_that_refuses_offload_gives_a_plain_device() -> None:
    asked = list[int]()

    def refuse(*, name: str, flags: int) -> pytun.TunTapDevice:
        asked.append(flags & IFF_VNET_HDR)
        if flags & IFF_VNET_HDR:
            raise pytun.Error(22, "Invalid argument")
        return pytun.TunTapDevice(name=name, flags=flags)

    def ignore(*, name: str, flags: int) -> pytun.TunTapDevice:
        asked.append(flags & IFF_VNET_HDR)
        return pytun.TunTapDevice(name=name, flags=flags & ~IFF_VNET_HDR)

    for create in (refuse, ignore):
        device = open_tun(create=create)
        assert (device.offload, device.name) == (False, "portway0")
        device.close()
    assert asked == [IFF_VNET_HDR, 0] * 2
