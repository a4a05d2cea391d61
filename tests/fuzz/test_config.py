"""The configuration file: text that is no TOML, TOML that is no configuration, configurations that contradict."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, check_config, load_config
from tests.fuzz.strategies import damaged, texts
from tests.unit.gateway.config_files import EXAMPLE, Table, example, make_pki, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    texts().filter(lambda text: text.isprintable()),
    st.sampled_from(
        ["10.0.0.0/8", "0.0.0.0/0", "10.80.0.0/22", "::1", "pki", "/dev/zero", "../../../", "main", "local", "office"]
    ),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["name", "x", "cidr"]), inner)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a PKI, for configurations to stand in."""
    directory = tmp_path_factory.mktemp("config")
    make_pki(directory / "pki")
    return directory


def places(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a configuration tree, from the top."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def put(tree: Any, path: tuple[str | int, ...], value: Any) -> None:
    for step in path[:-1]:
        tree = tree[step]
    tree[path[-1]] = value


def written(home: Path, table: Table) -> Path:
    """The configuration file with this tree in place of the example's."""

    def replace(config: Table) -> None:
        config.clear()
        config.update(table)

    return write_config(home, replace)


def judge(path: Path) -> None:
    """A configuration is usable, or every problem is a sentence; `check` and `load` agree about its shape."""
    problems = check_config(path)
    for problem in problems:
        assert str(problem).isprintable()
        assert str(problem).strip()
    try:
        assert isinstance(load_config(path), Config)
    except ConfigError as error:
        assert set(error.problems) <= set(problems)


@given(text=st.one_of(st.binary(max_size=200), texts().map(str.encode), damaged(EXAMPLE.read_bytes())))
def test_any_octets_are_a_configuration_or_a_list_of_sentences(home: Path, text: bytes) -> None:
    """Whatever the file holds, reading it gives a `Config` or `ConfigError`, and the sentences can be printed."""
    path = home / "config.toml"
    path.write_bytes(text)
    judge(path)


@given(data=st.data())
def test_any_value_at_any_key_is_taken_or_named(home: Path, data: st.DataObject) -> None:
    """The example with one to three values replaced by anything is usable, or its problems are sentences."""
    table: Table = copy.deepcopy(example())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(places(table))[1:]))
        put(table, place, data.draw(trees))
    judge(written(home, table))


@given(data=st.data())
def test_keys_that_are_left_out_or_doubled_are_named(home: Path, data: st.DataObject) -> None:
    """The example without some of its keys, or with tables of it repeated, is usable or its problems are sentences."""
    table: Table = copy.deepcopy(example())
    for _ in range(data.draw(st.integers(1, 4))):
        left = list(places(table))[1:]
        if not left:
            break
        place = data.draw(st.sampled_from(left))
        *above, last = place
        parent: Any = table
        for step in above:
            parent = parent[step]
        if isinstance(last, int) and data.draw(st.booleans()):
            parent.append(copy.deepcopy(parent[last]))
        else:
            del parent[last]
    judge(written(home, table))
