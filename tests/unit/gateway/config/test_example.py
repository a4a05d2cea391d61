"""`config.example.toml` is the documentation of every key: it must be complete, valid, and right about defaults."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

import policy
from gateway.actions import Quotas, ServiceSettings
from gateway.config import check_config, load_config, models, models_logs, models_service
from gateway.config.files import Surroundings
from gateway.config.settings import EndpointDefaults, LogGroupSettings, LogSettings, StoreSettings
from tests.unit.gateway.config.test_models import KEYS, Key, every_key
from tests.unit.gateway.config_files import EXAMPLE, example

if TYPE_CHECKING:
    from pathlib import Path

COMMENTED_KEY = re.compile(r"^# (\w+ = .*)$", re.MULTILINE)


def uncommented() -> str:
    return COMMENTED_KEY.sub(r"\1", EXAMPLE.read_text(encoding="utf-8"))


@every_key
def test_every_key_is_in_the_example(key: Key) -> None:
    assert key.name in key.table_in(tomllib.loads(uncommented()))


@every_key
def test_every_key_is_explained_above_it_or_above_its_neighbour(key: Key) -> None:
    """A group of keys without an empty line in between shares its comments."""
    groups = uncommented().split("\n\n")
    holders = [group for group in groups if re.search(rf"^(\[+[\w.]*)?{key.name}( = |\]+$)", group, re.MULTILINE)]
    assert holders
    assert all("# " in group for group in holders)


def test_the_example_is_valid(shared_home: Path) -> None:
    path = shared_home / "example.toml"
    path.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    assert check_config(path) == ()


def test_the_example_is_valid_with_its_commented_keys_too(shared_home: Path) -> None:
    path = shared_home / "uncommented.toml"
    path.write_text(uncommented(), encoding="utf-8")
    assert check_config(path) == ()


@pytest.mark.parametrize(
    "key",
    [key for key in KEYS if not key.info.is_required() and not isinstance(key.info.default, BaseModel)],
    ids=lambda key: key.path,
)
def test_a_default_in_the_example_is_the_model_s(key: Key, shared_home: Path) -> None:
    surroundings = Surroundings(shared_home, datetime.now(UTC))
    value: object = models.ConfigFile.model_validate(example(), context=surroundings)
    for step in (*key.section, key.name):
        value = value[step] if isinstance(step, int) else getattr(value, step)  # type: ignore[index]
    is_illustration = key.info.default is None or key.path == "log_group[0].file"
    is_illustration |= key.name in {
        "log_group",
        "target_network",
        "route",
        "authorization_rule",
        "network",
        "endpoint",
    }
    assert is_illustration or value == key.info.default


@pytest.mark.parametrize(
    ("section", "record"),
    [
        (models.Endpoint, policy.EndpointSpec),
        (models.DataChannel, policy.DataChannel),
        (models.Keepalive, policy.Keepalive),
        (models.Handshake, policy.HandshakeLimits),
        (models.TargetNetwork, policy.TargetNetwork),
        (models.Route, policy.Route),
        (models.AuthorizationRule, policy.AuthorizationRule),
        (models.Authentication, policy.CertificateAuthentication),
        (models.ControlChannel, policy.ControlChannel),
        (models_logs.Log, LogSettings),
        (models_logs.ConnectionLog, LogGroupSettings),
        (models_logs.LogGroup, LogGroupSettings),
        (models_logs.EndpointConnectionLog, policy.LogDestination),
        (models_service.Store, StoreSettings),
        (models_service.Api, ServiceSettings),
        (models_service.Quotas, Quotas),
        (models_service.EndpointDefaults, EndpointDefaults),
    ],
    ids=lambda kind: kind.__name__,
)
def test_defaults_are_those_of_the_records(section: type[BaseModel], record: type[policy.EndpointSpec]) -> None:
    """Whoever builds a spec by hand gets what somebody gets who leaves keys out."""
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(record)
        if field.default is not dataclasses.MISSING and not dataclasses.is_dataclass(field.default)
    }
    shared = defaults.keys() & section.model_fields.keys()
    assert shared or section is models.Authentication
    for name in shared - {"file"}:
        assert section.model_fields[name].default == defaults[name]


def test_every_field_of_the_spec_can_be_configured(shared_home: Path) -> None:
    path = shared_home / "uncommented.toml"
    path.write_text(uncommented(), encoding="utf-8")
    endpoint = load_config(path).spec.endpoints[0]
    assert endpoint.control_channel.tls_crypt_v2_max_age_days == 825
    assert endpoint.target_networks[0].gateway is not None
    keys = {
        "target_networks": "target_network",
        "routes": "route",
        "authorization_rules": "authorization_rule",
    }
    names = {keys.get(field.name, field.name) for field in dataclasses.fields(policy.EndpointSpec)}
    assert names <= set(models.Endpoint.model_fields)
