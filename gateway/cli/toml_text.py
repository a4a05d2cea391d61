"""Tables as TOML (https://toml.io/en/v1.0.0), for files that commands write.

Values are what JSON has: text, numbers, booleans, lists and tables. `tomllib` reads what this writes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["build_toml"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LINES = re.compile(r"[^\n\"\\\x00-\x08\x0b-\x1f\x7f]*\n[^\"\\\x00-\x08\x0b-\x1f\x7f]*")
"""Text of several lines that can stand between three quotes as it is."""


def build_toml(table: Mapping[str, Any], path: str = "") -> str:
    """Plain values first, then tables and arrays of tables under their full names; an empty array is left out."""
    plain, nested = [], []
    for key, value in table.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        match value:
            case dict():
                nested.append(f"[{name}]\n{build_toml(value, name)}")
            case [dict(), *_]:
                nested += [f"[[{name}]]\n{build_toml(item, name)}" for item in value]
            case [] if not path:
                pass
            case _:
                plain.append(f"{_key(key)} = {_value(value)}\n")
    return "\n".join(filter(None, ("".join(plain), *nested)))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f'"""\n{value}"""' if _LINES.fullmatch(value) else _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def _text(text: str) -> str:
    """JSON's text is TOML's, but for one control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
