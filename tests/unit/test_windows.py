"""A package's `__init__` is its shop window: nothing else of it is imported from outside."""

from __future__ import annotations

import ast

from tests.documents import ROOT

WINDOWS = {"policy", "tunnel", "tunnel.nativeplane", "tunnel.pyplane"}


def test_the_gateway_buys_in_the_shop_windows_only() -> None:
    beside = [
        f"{path.relative_to(ROOT)}:{node.lineno} imports from {node.module}"
        for path in (ROOT / "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.split(".")[0] in {"policy", "tunnel"}
        and node.module not in WINDOWS
    ]
    assert not beside
