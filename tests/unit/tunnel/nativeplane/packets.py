"""Packets of a flow, whole ones and such as a device with offloads gives, and what the kernel would cut them into."""

from __future__ import annotations

import struct
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

NONE, TCPV4, UFO, TCPV6, USO, ECN = 0, 1, 3, 4, 5, 0x80
"""Of `virtio_net_hdr.gso_type`."""
NEEDS_CSUM = 1
VIRTIO_SIZE = 10
TIMESTAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (1000, 2000))]


def tcp(size: int, *, number: int = 0, data: bytes | None = None, ip: Any = None, **about: Any) -> bytes:
    """A segment with so many octets of data, such as no segment of another number has."""
    chosen: dict[str, Any] = {"sport": 4000, "dport": 443, "seq": 4_294_967_000, "ack": 77, "options": TIMESTAMPS}
    return bytes(
        _ip(ip) / TCP(**(chosen | {"flags": "A"} | about)) / Raw(_data(size, number) if data is None else data)
    )


def udp(size: int, *, number: int = 0, data: bytes | None = None, ip: Any = None, **about: Any) -> bytes:
    """A datagram with so many octets of data, such as no datagram of another number has."""
    ports = {"sport": 53, "dport": 5000}
    return bytes(_ip(ip) / UDP(**(ports | about)) / Raw(_data(size, number) if data is None else data))


def _data(size: int, number: int) -> bytes:
    return bytes((at * 7 + number) % 251 for at in range(size))


def _ip(about: Any) -> IP:
    return IP(**({"src": "10.20.0.1", "dst": "10.80.0.7", "id": 65_530, "flags": "DF"} | (about or {})))


def naive_sum(octets: bytes, initial: int = 0) -> int:
    """The one's-complement sum of 16-bit words, as RFC 1071 defines it."""
    padded = octets + bytes(len(octets) % 2)
    words: tuple[int, ...] = struct.unpack(f">{len(padded) // 2}H", padded)
    total = initial + sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum_place(packet: bytes) -> tuple[int, int]:
    """Where the sum of a TCP or UDP packet begins, and where in there its complement goes."""
    return (packet[0] & 15) * 4, 16 if packet[9] == 6 else 6


def _pseudo_header_sum(packet: bytes) -> int:
    return naive_sum(packet[12:20], packet[9] + len(packet) - (packet[0] & 15) * 4)


def is_valid(packet: bytes) -> bool:
    """Whether the checksums of an unfragmented TCP or UDP packet, and its lengths, are right."""
    start = (packet[0] & 15) * 4
    return (
        int.from_bytes(packet[2:4], "big") == len(packet)
        and naive_sum(packet[:start]) == 0xFFFF
        and naive_sum(packet[start:], _pseudo_header_sum(packet)) == 0xFFFF
        and (packet[9] == 6 or int.from_bytes(packet[start + 4 : start + 6], "big") == len(packet) - start)
    )


def partial(packet: bytes) -> bytes:
    """With the pseudo-header's sum where the checksum belongs, as the kernel and devices leave it to each other."""
    at = sum(checksum_place(packet))
    return packet[:at] + _pseudo_header_sum(packet).to_bytes(2, "big") + packet[at + 2 :]


def frame(
    packet: bytes, gso: int = NONE, size: int = 0, *, checksum: tuple[int, int] | None = None, hint: int = 0
) -> bytes:
    """A frame of the device; `checksum` is a `checksum_place`."""
    flags = NEEDS_CSUM if checksum else 0
    return struct.pack("=BBHHHH", flags, gso, hint, size, *(checksum or (0, 0))) + packet


def super_frame(packet: bytes, size: int, *, ecn: int = 0, hint: int | None = None) -> bytes:
    """The frame of a packet that shall be cut into segments with so many octets of data; `hint`: of headers."""
    gso = TCPV4 | ecn if packet[9] == 6 else USO
    hint = headers_size(packet) if hint is None else hint
    return frame(partial(packet), gso, size, checksum=checksum_place(packet), hint=hint)


def headers_size(packet: bytes) -> int:
    """Octets before the data of a TCP or UDP packet."""
    start = (packet[0] & 15) * 4
    return start + ((packet[start + 12] >> 4) * 4 if packet[9] == 6 else 8)


def naive_cut(packet: bytes, size: int) -> list[bytes]:
    """What `tcp_gso_segment` and `__udp_gso_segment` of the kernel make of a packet, said by scapy."""
    whole = IP(packet)
    layer = TCP if TCP in whole else UDP
    data = bytes(whole[layer].payload)
    segments = list[bytes]()
    for number, at in enumerate(range(0, len(data), size)):
        one = whole.copy()
        one.id = (whole.id + number) % 65_536
        if layer is TCP:
            one[TCP].seq = (whole[TCP].seq + at) % 2**32
            gone = ("C" if number else "") + ("" if at + size >= len(data) else "FP")
            one[TCP].flags = "".join(flag for flag in str(whole[TCP].flags) if flag not in gone)
        else:
            one[UDP].delfieldval("len")
        one[layer].remove_payload()
        one[layer].add_payload(Raw(data[at : at + size]))
        for part in (one, one[layer]):
            part.delfieldval("chksum")
        one.delfieldval("len")
        segments.append(bytes(one))
    return segments


def damaged(packet: bytes, at: int, bits: int = 0x10) -> bytes:
    """With bits of one octet turned."""
    return packet[:at] + bytes([packet[at] ^ bits]) + packet[at + 1 :]


def normal(packet: bytes) -> bytes:
    """Without the identification, which means nothing in a packet with DF, and with a header checksum that is right."""
    head = packet[:4] + b"\x00\x00" + packet[6:10] + b"\x00\x00" + packet[12:20]
    return head[:10] + (~naive_sum(head) & 0xFFFF).to_bytes(2, "big") + head[12:] + packet[20:]
