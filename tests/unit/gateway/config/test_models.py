"""Every key of every section: missing, mistyped, misspelt. New keys are covered as soon as they are in the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import Problem, check_config
from gateway.config.models import ConfigFile
from gateway.config.sentences import key_path_of, section_of
from policy import Severity
from tests.unit.gateway.config_files import Table, example, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

NEEDED_BY_ANOTHER_KEY = {
    "endpoint[0].control_channel.tls_crypt_key",
    "endpoint[0].control_channel.tls_auth_key",
    "endpoint[0].control_channel.tls_crypt_v2_server_key",
}
"""Keys that may be left out, but not while `accept` in the example names their protection."""

VALUES_OF_EVERY_TYPE = ["\x00 é", -1, 2.5, True, [], [[]], {}, [{}], 10**30, float("nan")]


@dataclass(frozen=True)
class Key:
    section: tuple[str | int, ...]
    name: str
    info: FieldInfo

    @property
    def path(self) -> str:
        return key_path_of((*self.section, self.name))

    def table_in(self, config: Table) -> Table:
        table: Any = config
        for step in self.section:
            table = table[step]
        assert isinstance(table, dict)
        return table


def keys_of(section: type[BaseModel], path: tuple[str | int, ...] = ()) -> Iterator[Key]:
    for name, info in section.model_fields.items():
        yield Key(path, name, info)
        inner = section_of(section, name)
        if inner is not None:
            is_list = isinstance(example_at((*path, name)), list)
            yield from keys_of(inner, (*path, name, 0) if is_list else (*path, name))


def example_at(path: tuple[str | int, ...]) -> object:
    value: Any = example()
    for step in path:
        value = value[step]
    return value


KEYS = list(keys_of(ConfigFile))

every_key = pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)


def errors_in(config: Path) -> list[Problem]:
    return [problem for problem in check_config(config) if problem.severity is Severity.ERROR]


def concerns(problem: Problem, key: Key) -> bool:
    """Whether a problem points at the key, into it, or at the one section that it is a part of."""
    return problem.key_path.startswith(key.path) or problem.key_path == key_path_of(key.section)


def test_the_models_have_as_many_keys_as_the_file_explains() -> None:
    assert len(KEYS) > 70


@every_key
def test_every_key_says_what_it_means(key: Key) -> None:
    assert key.info.description


@every_key
def test_a_missing_key_has_a_default_or_is_named(key: Key, shared_home: Path) -> None:
    config = write_config(shared_home, lambda config: key.table_in(config).pop(key.name, None))
    problems = errors_in(config)
    if key.info.is_required():
        assert [problem.key_path for problem in problems] == [key.path]
        assert "Missing. " in str(problems[0])
    elif key.path in NEEDED_BY_ANOTHER_KEY:
        assert [problem.key_path for problem in problems] == [key.path]
    elif key.name in {"group", "all"} or key.path == "log_group[0].file":
        assert {problem.key_path for problem in problems} <= {key_path_of(key.section)}
    elif key.name in {"target_network", "route"}:
        assert {problem.key_path.partition("]")[0] for problem in problems} <= {"endpoint[0"}
    else:
        assert not problems


@every_key
@pytest.mark.parametrize("value", VALUES_OF_EVERY_TYPE, ids=repr)
def test_a_mistyped_key_is_named_and_nothing_else_is(key: Key, value: object, shared_home: Path) -> None:
    config = write_config(shared_home, lambda config: key.table_in(config).update({key.name: value}))
    problems = errors_in(config)
    assert all(concerns(problem, key) for problem in problems) or key.name == "target_network"
    assert all(str(problem).isprintable() for problem in problems)


@every_key
def test_no_key_takes_values_of_every_type(key: Key, shared_home: Path) -> None:
    refused = 0
    for value in VALUES_OF_EVERY_TYPE:
        config = write_config(
            shared_home,
            lambda config, value=value: key.table_in(config).update({key.name: value}),  # type: ignore[misc]
        )
        refused += bool(errors_in(config))
    assert refused >= 5


@every_key
def test_a_misspelt_key_is_refused_with_the_nearest_name(key: Key, shared_home: Path) -> None:
    misspelt = f"{key.name}x"
    config = write_config(shared_home, lambda config: key.table_in(config).update({misspelt: 1}))
    problems = check_config(config)
    assert [problem.key_path for problem in problems][:1] == [key_path_of((*key.section, misspelt))]
    assert f'did you mean "{key.name}"?' in problems[0].text


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(shared_home: Path) -> None:
    config = write_config(shared_home, lambda config: config["endpoint"][0].update(renegotiate_after_s=0))
    assert "it belongs into [endpoint.data_channel]" in str(check_config(config)[0])


def test_everything_that_is_wrong_is_reported_at_once(home: Path) -> None:
    (home / "pki/server.key").unlink()

    def spoil(config: Table) -> None:
        config["gateway"]["log"]["level"] = "loud"
        config["endpoint"][0]["vpn_port"] = 70000
        config["endpoint"][0]["route"][0]["destination"] = "10.20.0.1/24"

    assert [problem.key_path for problem in check_config(write_config(home, spoil))] == [
        "gateway.log.level",
        "endpoint[0].vpn_port",
        "endpoint[0].server_key",
        "endpoint[0].route[0].destination",
    ]


def test_what_the_rest_means_is_judged_although_a_file_is_broken(home: Path) -> None:
    (home / "pki/ca.crt").write_text("no certificate")
    config = write_config(home, lambda config: config["endpoint"][0].update(client_cidr_block="10.20.0.0/22"))
    paths = [problem.key_path for problem in check_config(config)]
    assert paths[0] == "endpoint[0].authentication.client_root_certificate_chain"
    assert any(path.startswith("endpoint[0].target_network[0]") for path in paths)


def test_a_problem_names_the_endpoint_that_it_is_in(shared_home: Path) -> None:
    config = write_config(shared_home, lambda config: config["endpoint"][0].update(name="berlin", vpn_port=0))
    (problem,) = check_config(config)
    assert str(problem) == 'endpoint[0].vpn_port (endpoint "berlin"): Must be at least 1, not 0.'


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"group": "a", "all": True}, "endpoint[0].authorization_rule[0]", "names a group and says"),
        ({"group": "a,b"}, "endpoint[0].authorization_rule[0].group", "without commas"),
    ],
)
def test_contradictory_rules_are_refused(change: Table, path: str, words: str, shared_home: Path) -> None:
    config = write_config(shared_home, lambda config: config["endpoint"][0]["authorization_rule"][0].update(change))
    (problem,) = check_config(config)
    assert problem.key_path == path
    assert words.lower() in problem.text.lower()


def test_one_digest_must_do_for_tls_auth_and_the_cbc_ciphers(shared_home: Path) -> None:
    def spoil(config: Table) -> None:
        config["endpoint"][0]["data_channel"].update(data_ciphers=["AES-256-GCM", "AES-256-CBC"], auth="SHA256")

    (problem,) = check_config(write_config(shared_home, spoil))
    assert problem.key_path == "endpoint[0].data_channel"
    assert "make them the same" in problem.text


def test_an_age_limit_without_tls_crypt_v2_is_refused(shared_home: Path) -> None:
    def spoil(config: Table) -> None:
        config["endpoint"][0]["control_channel"].update(accept=["none"], tls_crypt_v2_max_age_days=3)

    (problem,) = check_config(write_config(shared_home, spoil))
    assert problem.key_path == "endpoint[0].control_channel.tls_crypt_v2_max_age_days"


def test_a_timeout_shorter_than_two_pings_is_refused(shared_home: Path) -> None:
    config = write_config(shared_home, lambda config: config["endpoint"][0]["keepalive"].update(timeout_s=19))
    assert [problem.key_path for problem in check_config(config)] == ["endpoint[0].keepalive.timeout_s"]
