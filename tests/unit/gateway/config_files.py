"""Configurations for tests: the example with its paths pointed at a real PKI, changed in one place, written as TOML."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"

Table = dict[str, Any]


def make_pki(directory: Path) -> Authority:
    """An authority with a gateway `server` and a client `alice` in two groups."""
    authority = Authority(directory)
    authority.init()
    authority.issue_server("server", alternative_names=["vpn.example.com"])
    authority.issue_client("alice", groups=["engineering", "Ops Team"])
    return authority


def example() -> Table:
    """The example configuration, parsed."""
    return tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))


def write_config(directory: Path, change: Callable[[Table], object] = lambda _config: None) -> Path:
    """Write the example, changed, into a directory that holds `pki`."""
    config = copy.deepcopy(example())
    change(config)
    path = directory / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    return path


def to_toml(table: Table) -> str:
    """Write a table with inline values only: valid TOML, if not pretty."""
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in table.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)
