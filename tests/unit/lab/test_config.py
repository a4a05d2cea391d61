from __future__ import annotations

import tomllib
from pathlib import Path

from tests.lab import build_toml, endpoint, gateway_config


def test_what_is_written_is_what_was_meant() -> None:
    config = gateway_config(Path("/somewhere"), endpoint(), endpoint(name="second", split_tunnel=False, dns_servers=[]))
    assert tomllib.loads(build_toml(config)) == config
