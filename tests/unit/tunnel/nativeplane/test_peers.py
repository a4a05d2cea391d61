from __future__ import annotations

import ctypes
import errno
import functools
import resource
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.tunnel.nativeplane import keys
from tests.unit.tunnel.nativeplane.library import load
from tests.unit.tunnel.nativeplane.paths import Path
from tunnel.data_keys import Cipher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NO_PEER_ID = 0xFFFFFF
NETWORK = IPv4Network("10.80.0.0/28")
FIRST, LAST = int(NETWORK[0]), int(NETWORK[-1])
BLOCK = 4096
"""Ids whose slots are allocated together."""


class Peer(ctypes.Structure):
    """`struct peer`, up to its path."""

    _fields_ = (
        *(("id", ctypes.c_uint32), ("inside", ctypes.c_uint32)),
        *(("ping_interval_ms", ctypes.c_uint32), ("idle_timeout_ms", ctypes.c_uint32)),
        *(("mss", ctypes.c_uint16), ("data_v2", ctypes.c_bool), ("by_stream", ctypes.c_bool)),
        *(("tag", ctypes.c_uint8), ("removed", ctypes.c_bool), ("access", ctypes.c_void_p)),
        *(("sending", ctypes.c_void_p), ("stream", ctypes.c_void_p), ("keys", ctypes.c_void_p * 8)),
        *(("next_by_path", ctypes.c_void_p), ("_rest_of_the_line", ctypes.c_uint64)),
        *(("path_mutex", ctypes.c_uint64 * 5), ("path", Path)),
    )
    by_stream: bool
    removed: bool
    path: Path


@functools.cache
def library() -> ctypes.CDLL:
    library = keys.declare(load("peers.c", *keys.SOURCES))
    pointer, path = ctypes.c_void_p, ctypes.POINTER(Path)
    signatures: dict[str, tuple[Sequence[type], type | None]] = {
        "peer_new": ((ctypes.c_uint32, ctypes.c_uint32), pointer),
        "peer_free": ((pointer,), None),
        "peer_table_new": ((ctypes.c_uint32, ctypes.c_uint), pointer),
        "peer_table_free": ((pointer,), None),
        "peer_table_add": ((pointer, pointer), ctypes.c_int),
        "peer_table_remove": ((pointer, pointer), None),
        "peer_by_id": ((pointer, ctypes.c_uint32), pointer),
        "peer_by_inside": ((pointer, ctypes.c_uint32), pointer),
        "peer_by_path": ((pointer, path), pointer),
        "peer_move": ((pointer, pointer, path), ctypes.c_bool),
        "peer_path": ((pointer,), Path),
        "peer_from": ((pointer, ctypes.c_uint32), pointer),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def place(number: int, *, stream: int = 0) -> bytes:
    """Some path; equal numbers, equal paths."""
    return bytes(Path.to(f"192.0.2.{number % 256}", 1 + number // 256, stream=stream))


class Table:
    """A `struct peer_table`; peers are the addresses of their memory."""

    def __init__(self, network: IPv4Network = NETWORK) -> None:
        self._handle: int | None = library().peer_table_new(int(network.network_address), network.prefixlen)
        assert self._handle

    def close(self) -> None:
        if self._handle:
            library().peer_table_free(self._handle)
        self._handle = None

    def add(self, peer: int) -> int:
        return int(library().peer_table_add(self._handle, peer))

    def add_new(self, peer_id: int, inside: int, path: bytes, *, by_stream: bool = False) -> int:
        peer = new_peer(peer_id, inside, path, by_stream=by_stream)
        assert self.add(peer) == 0
        return peer

    def remove(self, peer: int) -> None:
        library().peer_table_remove(self._handle, peer)

    def by_id(self, peer_id: int) -> int | None:
        found: int | None = library().peer_by_id(self._handle, peer_id)
        return found

    def by_inside(self, address: int) -> int | None:
        found: int | None = library().peer_by_inside(self._handle, address)
        return found

    def by_path(self, path: bytes) -> int | None:
        found: int | None = library().peer_by_path(self._handle, Path.from_buffer_copy(path))
        return found

    def move(self, peer: int, path: bytes) -> bool:
        return bool(library().peer_move(self._handle, peer, Path.from_buffer_copy(path)))

    def starting_at(self, peer_id: int) -> int | None:
        found: int | None = library().peer_from(self._handle, peer_id)
        return found


def new_peer(peer_id: int, inside: int, path: bytes, *, by_stream: bool = False) -> int:
    peer: int = library().peer_new(peer_id, inside)
    assert peer
    fields = Peer.from_address(peer)
    fields.path, fields.by_stream = Path.from_buffer_copy(path), by_stream
    return peer


def path_of(peer: int) -> bytes:
    return bytes(library().peer_path(peer))


def free(peer: int) -> None:
    library().peer_free(peer)


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    yield table
    table.close()


@dataclass(eq=False)
class Known:
    """What the model knows of a peer that it has added."""

    memory: int
    peer_id: int
    inside: int
    path: bytes
    by_stream: bool


NOBODY = Known(0, 2**32, 0, b"", by_stream=False)
"""What a walk comes to after everybody."""
IDS = (0, 1, 2, 63, BLOCK - 1, BLOCK, BLOCK + 1, 7 * BLOCK, NO_PEER_ID - 2, NO_PEER_ID - 1)
ids = st.sampled_from((*IDS, NO_PEER_ID, NO_PEER_ID + 1, 2**32 - 1))
insides = st.integers(FIRST - 1, LAST + 1)
PLACES = tuple(place(number) for number in range(6))
places = st.sampled_from(PLACES)
numbers = st.integers(0, 2**16)


class PeersComeGoAndMove(RuleBasedStateMachine):
    """The table against dictionaries."""

    @initialize()
    def begin(self) -> None:
        self.table = Table()
        self.peers: list[Known] = []
        self.removed: list[Known] = []
        self.owners: dict[bytes, Known] = {}

    @rule(peer_id=ids, inside=insides, path=places, by_stream=st.booleans())
    def a_peer_comes(self, peer_id: int, inside: int, path: bytes, by_stream: bool) -> None:
        known = Known(new_peer(peer_id, inside, path, by_stream=by_stream), peer_id, inside, path, by_stream)
        error = self.table.add(known.memory)
        assert error == self._expected_error(peer_id, inside)
        if error:
            free(known.memory)
            return
        self.peers.append(known)
        if not by_stream:
            self.owners[path] = known

    def _expected_error(self, peer_id: int, inside: int) -> int:
        if peer_id >= NO_PEER_ID or not FIRST <= inside <= LAST:
            return -errno.EINVAL
        if any(known.peer_id == peer_id or known.inside == inside for known in self.peers):
            return -errno.EEXIST
        return 0

    @precondition(lambda self: self.peers)
    @rule(number=numbers)
    def a_peer_goes(self, number: int) -> None:
        known = self.peers.pop(number % len(self.peers))
        self.table.remove(known.memory)
        self.removed.append(known)
        if self.owners.get(known.path) is known:
            del self.owners[known.path]

    @precondition(lambda self: self.peers)
    @rule(number=numbers, path=places)
    def a_peer_moves(self, number: int, path: bytes) -> None:
        known = self.peers[number % len(self.peers)]
        may_move = not known.by_stream and self.owners.get(path, known) is known
        assert self.table.move(known.memory, path) == may_move
        if not may_move:
            return
        if self.owners.get(known.path) is known:
            del self.owners[known.path]
        known.path = path
        self.owners[path] = known

    @precondition(lambda self: self.removed)
    @rule(number=numbers, path=places)
    def one_that_has_gone_is_heard_from_elsewhere(self, number: int, path: bytes) -> None:
        assert not self.table.move(self.removed[number % len(self.removed)].memory, path)

    @invariant()
    def everyone_is_found_and_nobody_else(self) -> None:
        by_id = {known.peer_id: known.memory for known in self.peers}
        by_inside = {known.inside: known.memory for known in self.peers}
        for peer_id in (*IDS, NO_PEER_ID, 2**32 - 1):
            assert self.table.by_id(peer_id) == by_id.get(peer_id)
        for inside in (*range(FIRST - 2, LAST + 3), 0, 2**32 - 1):
            assert self.table.by_inside(inside) == by_inside.get(inside)
        for path in PLACES:
            owner = self.owners.get(path)
            assert self.table.by_path(path) == (owner.memory if owner else None)

    @invariant()
    def a_walk_meets_everyone_in_order(self) -> None:
        met, peer = list[int](), self.table.starting_at(0)
        while peer:
            met.append(peer)
            peer = self.table.starting_at(ctypes.c_uint32.from_address(peer).value + 1)
        assert met == [known.memory for known in sorted(self.peers, key=lambda known: known.peer_id)]
        for first in (*IDS, 5, BLOCK + 5, 6 * BLOCK + 1, NO_PEER_ID):
            following = min((known.peer_id, known.memory) for known in (*self.peers, NOBODY) if known.peer_id >= first)
            assert self.table.starting_at(first) == (following[1] or None)

    @invariant()
    def each_knows_where_it_is_and_whether_it_has_gone(self) -> None:
        for known in (*self.peers, *self.removed):
            assert path_of(known.memory) == known.path
            assert Peer.from_address(known.memory).removed == (known in self.removed)

    def teardown(self) -> None:
        self.table.close()
        for known in self.removed:
            free(known.memory)


TestPeersComeGoAndMove = PeersComeGoAndMove.TestCase


def test_twenty_thousand_are_found_by_everything_that_names_them() -> None:
    network = IPv4Network("10.64.0.0/17")
    table = Table(network)
    first = int(network.network_address)
    peers = [table.add_new(number, first + number, place(number)) for number in range(20_000)]
    for number, peer in enumerate(peers):
        assert table.by_id(number) == table.by_inside(first + number) == table.by_path(place(number)) == peer
    for number, peer in enumerate(peers):
        assert table.move(peer, place(20_000 + number))
    assert not any(table.by_path(place(number)) for number in range(0, 20_000, 7))
    for peer in peers[::2]:
        table.remove(peer)
        free(peer)
    assert [table.by_path(place(20_000 + number)) for number in range(20_000)] == [
        peer if number % 2 else None for number, peer in enumerate(peers)
    ]
    table.close()


@pytest.mark.parametrize("network", ["10.0.0.0/8", "100.64.0.0/10", "255.255.255.252/30", "0.0.0.0/30", "10.1.2.0/24"])
def test_a_client_range_is_its_first_to_its_last_address(network: str) -> None:
    around = IPv4Network(network)
    table = Table(around)
    first, last = int(around[0]), int(around[-1])
    assert table.by_inside(first) is None
    peers = [table.add_new(7, first, place(1)), table.add_new(8, last, place(2))]
    assert [table.by_inside(first), table.by_inside(last)] == peers
    for outside in ((first - 1) % 2**32, (last + 1) % 2**32):
        stranger = new_peer(9, outside, place(3))
        assert table.by_inside(outside) is None
        assert table.add(stranger) == -errno.EINVAL
        free(stranger)
    table.close()


@pytest.mark.parametrize("prefix", [0, 7, 31, 32, 33])
def test_a_range_that_is_too_wide_or_too_narrow_has_no_table(prefix: int) -> None:
    assert library().peer_table_new(0, prefix) is None


def resident_octets() -> int:
    return int(FilePath("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_addresses_that_nobody_has_cost_no_memory() -> None:
    before = resident_octets()
    table = Table(IPv4Network("10.0.0.0/8"))
    table.add_new(0, 0x0A000001, place(1))
    table.add_new(NO_PEER_ID - 1, 0x0AFFFFFE, place(2))
    assert resident_octets() - before < 8 * 2**20
    table.close()


def test_a_stream_is_no_way_to_find_a_peer_nor_can_it_move(table: Table) -> None:
    path = place(1, stream=4)
    peer = table.add_new(1, FIRST, path, by_stream=True)
    assert table.by_path(path) is None
    assert not table.move(peer, place(2))
    assert path_of(peer) == path


def test_whoever_comes_to_a_path_takes_it_from_its_owner(table: Table) -> None:
    old = table.add_new(1, FIRST, place(1))
    new = table.add_new(2, FIRST + 1, place(1))
    assert table.by_path(place(1)) == new
    assert not table.move(old, place(1)), "it is another's now"
    table.remove(old)
    free(old)
    assert table.by_path(place(1)) == new


def test_paths_differ_in_every_part(table: Table) -> None:
    paths = [
        Path.to("192.0.2.1", 5, local="198.51.100.1", scope=2),
        Path.to("192.0.2.2", 5, local="198.51.100.1", scope=2),
        Path.to("192.0.2.1", 6, local="198.51.100.1", scope=2),
        Path.to("192.0.2.1", 5, local="198.51.100.2", scope=2),
        Path.to("192.0.2.1", 5, local="198.51.100.1", scope=3),
    ]
    peers = [table.add_new(number, FIRST + number, bytes(path)) for number, path in enumerate(paths)]
    assert [table.by_path(bytes(path)) for path in paths] == peers


def test_keys_go_with_their_peer() -> None:
    peer = library().peer_new(1, FIRST)
    for key_id in (0, 7):
        error, key = keys.make_key(keys.KeySettings.of(keys.key_of(Cipher.AES_256_GCM, key_id=key_id), 1))
        assert error == 0
        Peer.from_address(peer).keys[key_id] = key.value
    free(peer)
