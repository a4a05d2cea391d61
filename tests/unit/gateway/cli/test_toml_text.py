from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.toml_text import build_toml

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(TEXT, max_size=3),
)
TABLES = st.recursive(
    st.dictionaries(TEXT, VALUES, max_size=4),
    lambda inner: st.dictionaries(TEXT, VALUES | inner | st.lists(inner, min_size=1, max_size=3), max_size=4),
    max_leaves=12,
)


def without_empty_lists(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value != []}


@given(TABLES)
def test_what_is_written_is_read_as_it_was(table: dict[str, Any]) -> None:
    assert tomllib.loads(build_toml(table)) == without_empty_lists(table)


def test_it_reads_as_people_write_it() -> None:
    table = {"name": "x", "endpoint": [{"name": "a", "tags": {"two words": "b"}, "route": [{"to": 1}, {"to": 2}]}]}
    assert build_toml(table) == (
        'name = "x"\n\n[[endpoint]]\nname = "a"\n\n[endpoint.tags]\n"two words" = "b"\n\n'
        "[[endpoint.route]]\nto = 1\n\n[[endpoint.route]]\nto = 2\n"
    )


def test_text_of_several_lines_stays_readable() -> None:
    assert build_toml({"list": "-----BEGIN\nAAAA\n"}) == 'list = """\n-----BEGIN\nAAAA\n"""\n'
