from __future__ import annotations

from gateway.hostnet.tunnel_device import build_alias, is_alias_of


def test_an_alias_names_its_daemon() -> None:
    alias = build_alias("0a1b2c3d", "main office")
    assert is_alias_of(alias, "0a1b2c3d")
    assert not is_alias_of(alias, "0a1b2c3e")
    assert not is_alias_of("", "")
    assert not is_alias_of("somebody's 0a1b2c3d", "0a1b2c3d")
