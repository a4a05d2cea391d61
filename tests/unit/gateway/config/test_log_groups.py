from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import ConfigError, LogGroupSettings, load_config
from policy import LogDestination
from tests.unit.gateway.config_files import write_config

if TYPE_CHECKING:
    from pathlib import Path

AUDIT = {"name": "audit", "file": "audit.log"}


def load(home: Path, *groups: dict[str, Any], endpoint: dict[str, Any] | None = None) -> Any:
    def change(config: dict[str, Any]) -> None:
        config["gateway"]["state_dir"] = "state"
        config["log_group"] = list(groups)
        config["endpoint"][0]["connection_log"] = endpoint or {}

    return load_config(write_config(home, change))


def problem(home: Path, *groups: dict[str, Any], endpoint: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(home, *groups, endpoint=endpoint)
    (found,) = caught.value.problems
    return str(found)


def test_there_is_a_default_group_and_those_that_are_declared(home: Path) -> None:
    settings = load(home, AUDIT | {"rotate_mib": 1}, {"name": "/aws/vpn", "journal": True}).settings
    assert list(settings.log_groups) == ["default", "audit", "/aws/vpn"]
    assert settings.log_groups["audit"] == LogGroupSettings(home / "state" / "audit.log", 1024 * 1024)
    assert settings.log_groups["/aws/vpn"] == LogGroupSettings(None, journal=True)
    assert settings.api.service.log_groups == tuple(settings.log_groups)


@pytest.mark.parametrize(
    ("said", "destination"),
    [
        ({}, LogDestination("default", "")),
        ({"group": "audit", "stream": "staff"}, LogDestination("audit", "staff")),
        ({"enabled": False}, None),
    ],
)
def test_an_endpoint_says_where_its_records_go(
    home: Path, said: dict[str, Any], destination: LogDestination | None
) -> None:
    assert load(home, AUDIT, endpoint=said).spec.endpoints[0].connection_log == destination


def test_an_unknown_group_is_named_with_its_place_and_those_that_there_are(home: Path) -> None:
    said = problem(home, AUDIT, endpoint={"group": "nowhere"})
    assert said.startswith('endpoint[0].connection_log.group (endpoint "main"): There is no log group "nowhere".')
    assert '"default", "audit"' in said
    assert 'Did you mean "audit"?' in problem(home, AUDIT, endpoint={"group": "audit2"})


def test_an_unknown_group_does_not_matter_where_nothing_is_logged(home: Path) -> None:
    assert load(home, endpoint={"enabled": False, "group": "nowhere"}).spec.endpoints[0].connection_log is None


@pytest.mark.parametrize(
    ("groups", "place", "sentence"),
    [
        ([{"name": "default", "journal": True}], "log_group[0].name", "is that of [gateway.connection_log]"),
        ([{"name": "a b", "journal": True}], "log_group[0].name", "ust be 1 to 512 letters"),
        ([{"name": "audit"}], "log_group[0]", "as no place to write to"),
        ([AUDIT, {"name": "audit", "journal": True}], "log_group[1].name", "log_group[0] has this name, too."),
        ([AUDIT, {**AUDIT, "name": "b", "rotate_keep": 1}], "log_group[1].file", "the file of log_group[0], too"),
        (
            [{"name": "b", "file": "./connections.log", "rotate_mib": 1}],
            "log_group[0].file",
            "the file of gateway.connection_log, too",
        ),
    ],
)
def test_groups_that_cannot_be_are_refused(home: Path, groups: list[dict[str, Any]], place: str, sentence: str) -> None:
    said = problem(home, *groups)
    assert said.startswith(place)
    assert sentence in said


def test_groups_may_share_a_file_that_both_rotate_alike(home: Path) -> None:
    assert len(load(home, AUDIT, {**AUDIT, "name": "b"}).settings.log_groups) == 3
