from __future__ import annotations

import pytest

from gateway.config.models import ConfigFile, Endpoint
from gateway.config.sentences import endpoint_names, key_path_of, section_of, where_of


def test_a_location_reads_as_in_the_file() -> None:
    assert key_path_of(("endpoint", 0, "route", 12, "target")) == "endpoint[0].route[12].target"
    assert key_path_of(("gateway", "log", "level")) == "gateway.log.level"
    assert key_path_of(()) == ""


def test_names_hold_their_places_although_some_are_missing() -> None:
    raw = {"endpoint": [{"name": "a"}, {}, 5, {"name": 7}, {"name": "e"}]}
    assert endpoint_names(raw) == ["a", "", "", "", "e"]


@pytest.mark.parametrize("raw", [{}, {"endpoint": 5}, {"endpoint": {"name": "a"}}])
def test_a_file_without_a_list_of_endpoints_has_no_names(raw: dict[str, object]) -> None:
    assert endpoint_names(raw) == []


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("endpoint[1].route[0].target", 'endpoint "b"'),
        ("endpoint[1]", 'endpoint "b"'),
        ("endpoint[2].name", ""),
        ("endpoint[9].name", ""),
        ("endpoint", ""),
        ("gateway.node", ""),
    ],
)
def test_a_path_is_in_the_endpoint_that_its_number_says(path: str, where: str) -> None:
    assert where_of(path, ["a", "b", ""]) == where


def test_a_name_that_plays_tricks_is_shown_harmlessly() -> None:
    assert where_of("endpoint[0]", ["a\x1b[2J\n"]).isprintable()


def test_tables_are_told_from_values() -> None:
    assert section_of(ConfigFile, "endpoint") is Endpoint
    assert section_of(Endpoint, "vpn_port") is None
    assert section_of(Endpoint, "server_key") is None
    assert section_of(Endpoint, "nonsense") is None
