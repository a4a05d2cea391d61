from __future__ import annotations

import re

import pytest

from gateway.object_ids import endpoint_id, subnet_id, vpc_id


@pytest.mark.parametrize(
    ("prefix", "derived"), [("cvpn-endpoint", endpoint_id), ("subnet", subnet_id), ("vpc", vpc_id)]
)
def test_ids_have_aws_s_form_and_follow_from_the_name(prefix: str, derived: object) -> None:
    assert callable(derived)
    assert re.fullmatch(rf"{prefix}-[0-9a-f]{{17}}", derived("main"))
    assert derived("main") == derived("main") != derived("other")


def test_an_endpoint_whose_name_is_its_id_keeps_it() -> None:
    name = "cvpn-endpoint-0123456789abcdef0"
    assert endpoint_id(name) == name


@pytest.mark.parametrize(
    "name", ["cvpn-endpoint-0123", "cvpn-endpoint-0123456789ABCDEF0", "cvpn-endpoint-0123456789abcdef00"]
)
def test_what_only_looks_like_an_id_is_a_name(name: str) -> None:
    assert endpoint_id(name) != name
