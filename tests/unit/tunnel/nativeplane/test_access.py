from __future__ import annotations

import ctypes
import errno
import functools
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.access import compile_access, decide
from tests.unit.policy.specs import addresses, edges, endpoints, group_sets
from tests.unit.tunnel.nativeplane.library import load
from tunnel.inner_packet import is_unicast
from tunnel.plane import AccessTable, Drop, Verdict
from tunnel.pyplane.access import AccessTables

if TYPE_CHECKING:
    from policy.spec import EndpointSpec

MULTICAST = len(Verdict)
MEANING = (Drop.NO_ROUTE, Drop.NO_RULE, Verdict.FORWARD, Verdict.LOCAL, Drop.MULTICAST)
NETWORK = IPv4Network("10.80.0.0/22")
GATEWAY = IPv4Address("10.80.0.1")


@functools.cache
def library() -> ctypes.CDLL:
    library = load("access.c")
    library.access_table_new.argtypes = (
        *(ctypes.POINTER(ctypes.c_uint32), ctypes.c_char_p, ctypes.c_size_t),
        *(ctypes.c_uint32, ctypes.c_uint32, ctypes.POINTER(ctypes.c_void_p)),
    )
    library.access_verdict.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    for counting in (library.access_table_hold, library.access_table_release, library.access_table_free):
        counting.argtypes = (ctypes.c_void_p,)
    library.access_table_free.restype = None
    return library


def make(starts: list[int], verdicts: bytes, gateway: int = 0, broadcast: int = 0) -> tuple[int, ctypes.c_void_p]:
    table = ctypes.c_void_p()
    memory = (ctypes.c_uint32 * len(starts))(*starts)
    error = library().access_table_new(memory, verdicts, len(starts), gateway, broadcast, ctypes.byref(table))
    return error, table


class NativeTable:
    """A `struct access_table` for a client range, as the core answers for it."""

    def __init__(self, table: AccessTable, network: IPv4Network = NETWORK, gateway: IPv4Address = GATEWAY) -> None:
        starts = [int.from_bytes(start, "big") for start in table.starts]
        error, self.handle = make(starts, table.verdicts, int(gateway), int(network.broadcast_address))
        assert error == 0, errno.errorcode[-error]

    def __del__(self) -> None:
        library().access_table_free(self.handle)

    def decide(self, destination: int) -> Verdict | Drop:
        return MEANING[library().access_verdict(self.handle, destination)]


tables = st.dictionaries(addresses.map(int), st.sampled_from(Verdict), max_size=60).map(
    lambda starts: AccessTable(
        starts=tuple(start.to_bytes(4, "big") for start in sorted({0, *starts})),
        verdicts=bytes(starts.get(start, Verdict.NO_ROUTE) for start in sorted({0, *starts})),
    )
)


def around(table: AccessTable) -> set[int]:
    """Every place where a table's verdict may change, and its neighbours."""
    starts = [int.from_bytes(start, "big") for start in table.starts]
    special = [int(GATEWAY), int(NETWORK.broadcast_address), 1 << 24, 127 << 24, 128 << 24, 224 << 24, 0]
    return {(place + step) % 2**32 for place in (*starts, *special) for step in (-1, 0, 1)}


@given(tables, st.lists(addresses, max_size=30))
def test_verdicts_are_those_of_the_python_plane(table: AccessTable, probes: list[IPv4Address]) -> None:
    native, python = NativeTable(table), AccessTables(NETWORK, GATEWAY).access(table)
    for destination in around(table) | {int(probe) for probe in probes}:
        assert native.decide(destination) is python.decide(destination.to_bytes(4, "big"))


@given(endpoints, group_sets, st.lists(addresses, max_size=20))
def test_compiled_policy_means_here_what_it_means_there(
    spec: EndpointSpec, groups: frozenset[str], probes: list[IPv4Address]
) -> None:
    network = spec.client_cidr_block
    compiled = compile_access(spec, groups)
    table = AccessTable(compiled.starts, compiled.verdicts)
    native = NativeTable(table, network, network[1])
    python = AccessTables(network, network[1]).access(table)
    for destination in (*probes, *edges(spec), network[1], network.broadcast_address):
        answer = native.decide(int(destination))
        assert answer is python.decide(destination.packed)
        if is_unicast(destination.packed) and destination not in (network[1], network.broadcast_address):
            assert answer is MEANING[decide(spec, groups, destination)]


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 50_000])
def test_the_interval_is_found_in_tables_of_any_size(count: int) -> None:
    starts = [number * (2**32 // count) for number in range(count)]
    table = AccessTable(
        tuple(start.to_bytes(4, "big") for start in starts), bytes(number % 4 for number in range(count))
    )
    native = NativeTable(table)
    for number in range(0, count, max(1, count // 500)):
        for interval, destination in ((number, starts[number]), (number - 1, starts[number] - 1)):
            if is_unicast((destination % 2**32).to_bytes(4, "big")):
                assert native.decide(destination) is MEANING[interval % 4]


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.255.255.255", "127.0.0.1", "127.255.255.255", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
)
def test_what_names_no_single_host_is_multicast_whatever_the_table_says(address: str) -> None:
    everything = NativeTable(AccessTable((bytes(4),), bytes([Verdict.FORWARD])))
    assert everything.decide(int(IPv4Address(address))) is Drop.MULTICAST
    assert everything.decide(int(NETWORK.broadcast_address)) is Drop.MULTICAST
    assert everything.decide(int(NETWORK.broadcast_address) - 1) is Verdict.FORWARD


def test_the_gateways_own_address_is_the_hosts_where_clients_may_reach_each_other() -> None:
    local = NativeTable(AccessTable((bytes(4),), bytes([Verdict.LOCAL])))
    refused = NativeTable(AccessTable((bytes(4),), bytes([Verdict.NO_RULE])))
    assert local.decide(int(GATEWAY)) is Verdict.FORWARD
    assert local.decide(int(GATEWAY) + 1) is Verdict.LOCAL
    assert refused.decide(int(GATEWAY)) is Drop.NO_RULE


@pytest.mark.parametrize(
    ("starts", "verdicts"),
    [
        ([], b""),
        ([1], b"\0"),
        ([0, 5, 5], b"\0\1\2"),
        ([0, 6, 5], b"\0\1\2"),
        ([0, 5], bytes([Verdict.FORWARD, MULTICAST])),
        ([0], b"\xff"),
    ],
)
def test_a_table_that_is_not_ascending_from_zero_or_has_no_such_verdict_is_refused(
    starts: list[int], verdicts: bytes
) -> None:
    error, table = make(starts, verdicts)
    assert error == -errno.EINVAL
    assert table.value is None


def test_a_table_is_its_makers_until_others_hold_it() -> None:
    _, table = make([0], b"\0")
    assert library().access_table_hold(table) == 2
    assert library().access_table_hold(table) == 3
    assert [library().access_table_release(table) for _ in range(3)] == [2, 1, 0]
    library().access_table_free(table)


def test_the_table_is_a_copy_of_what_it_was_made_from() -> None:
    starts, verdicts = (ctypes.c_uint32 * 2)(0, 0x0A000000), ctypes.create_string_buffer(b"\0\2")
    table = ctypes.c_void_p()
    library().access_table_new(starts, verdicts, 2, 0, 0, ctypes.byref(table))
    starts[1], verdicts.raw = 0xFFFFFFFF, b"\1\1\1"
    assert library().access_verdict(table, 0x0A000001) == Verdict.FORWARD
    assert library().access_verdict(table, 0x09FFFFFF) == Verdict.NO_ROUTE
    library().access_table_free(table)
