from __future__ import annotations

import contextlib
import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from gateway.actions.call import ActionError
from gateway.actions.objects import canonical_cidr, find_endpoint, is_visible, new_id, status_shape
from gateway.store.schema import endpoint
from tests.unit.gateway.actions.harness import limited_to, make_call, refused
from tests.unit.gateway.actions.rows import ENDPOINT_ID, FILE_ENDPOINT_ID, add_endpoint, add_file_endpoint

if TYPE_CHECKING:
    from gateway.store import Store


def test_an_id_has_its_prefix_and_17_digits_and_is_new() -> None:
    ids = {new_id("cvpn-assoc") for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"cvpn-assoc-[0-9a-f]{17}", one) for one in ids)


def test_an_endpoint_is_found_by_its_id(store: Store) -> None:
    add_endpoint(store)
    with store.read() as connection:
        assert find_endpoint(make_call(store, connection), ENDPOINT_ID, for_change=True).id == ENDPOINT_ID


def test_what_is_not_there_is_not_found(store: Store) -> None:
    add_endpoint(store, ended_at=1.0)
    with store.read() as connection:
        for wanted in (ENDPOINT_ID, "cvpn-endpoint-0", "", "'; --"):
            with refused("InvalidClientVpnEndpointId.NotFound"):
                find_endpoint(make_call(store, connection), wanted)


def test_what_a_caller_may_not_know_of_is_not_found_either(store: Store) -> None:
    add_endpoint(store)
    with store.read() as connection:
        call = make_call(store, connection, caller=limited_to("cvpn-endpoint-other"))
        with refused("InvalidClientVpnEndpointId.NotFound"):
            find_endpoint(call, ENDPOINT_ID)
        assert not is_visible(call, ENDPOINT_ID)
        call = make_call(store, connection, caller=limited_to(ENDPOINT_ID))
        assert find_endpoint(call, ENDPOINT_ID).id == ENDPOINT_ID


def test_a_files_endpoint_can_be_read_and_not_changed(store: Store) -> None:
    add_file_endpoint(store)
    with store.read() as connection:
        call = make_call(store, connection)
        assert find_endpoint(call, FILE_ENDPOINT_ID).name == "office"
        with refused("UnsupportedOperation", "/etc/portway/config.toml"):
            find_endpoint(call, FILE_ENDPOINT_ID, for_change=True)


def test_an_endpoint_that_is_being_deleted_is_not_changed(store: Store) -> None:
    add_endpoint(store, status_code="deleting")
    with store.read() as connection:
        call = make_call(store, connection)
        assert find_endpoint(call, ENDPOINT_ID).status_code == "deleting"
        with refused("IncorrectState"):
            find_endpoint(call, ENDPOINT_ID, for_change=True)


def test_a_status_has_a_message_where_there_is_one(store: Store) -> None:
    add_endpoint(store, "a", client_cidr_block="10.1.0.0/16")
    add_endpoint(store, "b", client_cidr_block="10.2.0.0/16", status_message="no such interface")
    with store.read() as connection:
        quiet, loud = connection.execute(select(endpoint).order_by(endpoint.c.id))
    assert status_shape(quiet) == {"Code": "pending-associate"}
    assert status_shape(loud) == {"Code": "pending-associate", "Message": "no such interface"}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.20.0.0/16", "10.20.0.0/16"),
        ("10.20.3.4/16", "10.20.0.0/16"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.1/32", "10.0.0.1/32"),
        ("10.0.0.0/08", "10.0.0.0/8"),
    ],
)
def test_a_network_is_written_in_one_way(text: str, canonical: str) -> None:
    assert canonical_cidr(text) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "10.0.0/8", "256.0.0.0/8", "2001:db8::/32",
     " 10.0.0.0/8", "10.0.0.0/8\n", "10.0.0.0/+8", "10.0.0.0/٨", "010.0.0.0/8"],
)  # fmt: skip
def test_what_is_no_network_is_refused(text: str) -> None:
    with refused("InvalidParameterValue", "10.20.0.0/16"):
        canonical_cidr(text)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_equal_networks_are_equal_text(address: int, prefix: int) -> None:
    network = IPv4Network((address, prefix), strict=False)
    assert canonical_cidr(f"{IPv4Network(address).network_address}/{prefix}") == str(network)
    assert canonical_cidr(str(network)) == str(network)


@given(st.text(alphabet="0123456789./ a٣-+\n"))
def test_no_text_is_half_a_network(text: str) -> None:
    with contextlib.suppress(ActionError):
        assert str(IPv4Network(canonical_cidr(text))) == canonical_cidr(text)
