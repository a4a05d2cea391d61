"""From a file to a `Config`: read, validate whole, and report everything that is wrong at once.

Owns the order of the steps. The shape lives in `models`, what files must hold in `files` and `certificates`, the
wording in `sentences`.
"""

from __future__ import annotations

import socket
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.config.building import build_networks, build_settings, build_spec
from gateway.config.files import Surroundings, read_file
from gateway.config.log_groups import log_group_problems
from gateway.config.models import ConfigFile
from gateway.config.places import log_problems, plane_problems, socket_problems
from gateway.config.problems import ConfigError, Problem, WrongValue
from gateway.config.sentences import problems_of, where_of
from gateway.config.settings import Config
from gateway.config.values import printable
from policy import validate, validate_networks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.config.settings import GatewaySettings
    from policy import GatewaySpec, HostFacts

__all__ = ["check_config", "judge_networks", "judge_spec", "load_config", "read_toml"]

MAX_CONFIG_SIZE = 4 * 1024 * 1024
"""Tens of thousands of rules; more than this is some other file."""


def load_config(path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Config:
    """Read a configuration and the files that it names. Raises `ConfigError` with everything that is wrong.

    Paths in the file are relative to it. What the spec means is not judged: see `policy.validate`.
    """
    raw = read_toml(path)
    surroundings = Surroundings(path.absolute().parent, now())
    try:
        file = ConfigFile.model_validate(raw, context=surroundings)
    except ValidationError as error:
        raise ConfigError(problems_of(error, ConfigFile, raw)) from None
    config = _build(file, path, surroundings)
    problems = (*log_group_problems(file), *socket_problems(config.settings))
    if problems:
        raise ConfigError(problems)
    return config


def check_config(
    path: Path,
    read_facts: Callable[[GatewaySettings], HostFacts | None] = lambda _settings: None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Problem, ...]:
    """Find everything that is wrong with a configuration; the host is looked at where `read_facts` tells of it.

    A file that it names may be broken: what the rest means is judged all the same.
    """
    try:
        return _meaning_problems(load_config(path, now=now), read_facts)
    except ConfigError as error:
        config = _load_without_files(path, now())
        meaning = _meaning_problems(config, read_facts) if config else ()
        return tuple(dict.fromkeys((*error.problems, *meaning)))


def judge_spec(spec: GatewaySpec, facts: HostFacts | None) -> tuple[Problem, ...]:
    """What `policy.validate` has to say, with the names of endpoints, as whoever wrote the file knows them."""
    names = [endpoint.name for endpoint in spec.endpoints]
    return tuple(
        Problem(found.key_path, found.text, where_of(found.key_path, names), found.severity)
        for found in validate(spec, facts)
    )


def judge_networks(config: Config, facts: HostFacts | None) -> tuple[Problem, ...]:
    """What `policy.validate_networks` has to say of what this host offers, with names as in the file."""
    networks = [network.target(network.name) for network in config.networks]
    return tuple(
        Problem(found.key_path, found.text, severity=found.severity)
        for found in validate_networks(networks, config.spec, facts)
    )


def _load_without_files(path: Path, now: datetime) -> Config | None:
    """The configuration as it would be if every file were right; None where the shape is already wrong."""
    surroundings = Surroundings(path.absolute().parent, now, read_files=False)
    try:
        return _build(ConfigFile.model_validate(read_toml(path), context=surroundings), path, surroundings)
    except (ConfigError, ValidationError):
        return None


def _meaning_problems(config: Config, read_facts: Callable[[GatewaySettings], HostFacts | None]) -> tuple[Problem, ...]:
    facts = read_facts(config.settings)
    return (
        *socket_problems(config.settings),
        *((*log_problems(config.settings), *plane_problems(config.settings)) if facts is not None else ()),
        *judge_spec(config.spec, facts),
        *judge_networks(config, facts),
    )


def _build(file: ConfigFile, path: Path, surroundings: Surroundings) -> Config:
    return Config(
        settings=build_settings(file, surroundings.directory, socket.gethostname()),
        spec=build_spec(file),
        networks=build_networks(file),
        files=(path.absolute(), *surroundings.files),
    )


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file's TOML. Raises `ConfigError`."""
    try:
        octets = read_file(path, limit=MAX_CONFIG_SIZE)
    except WrongValue as wrong:
        raise _whole_file(f"{printable(str(path))} {wrong}.") from None
    try:
        return tomllib.loads(octets.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise _whole_file(
            f"{path} is no UTF-8 text: octet {error.start} is 0x{octets[error.start]:02x}. Save it as UTF-8."
        ) from None
    except ValueError as error:  # TOMLDecodeError, and what int() says of a number with thousands of digits
        raise _whole_file(f"{path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise _whole_file(f"{path} nests lists or tables too deeply to be a configuration.") from None


def _whole_file(text: str) -> ConfigError:
    return ConfigError((Problem("", text),))
