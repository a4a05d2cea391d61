"""Every action in the words of botocore's model: all members said, all replies of the shapes that it gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.actions.loading import load_actions
from tests.unit.gateway.api.conformance import OPERATIONS, Conversation, paths_of
from tests.unit.gateway.api.conformance_scenarios import converse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.gateway.stores import StoreTemplates

ACTIONS = load_actions()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def talk(
    request: pytest.FixtureRequest, store_templates: StoreTemplates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Conversation]:
    """A conversation in which everything was said."""
    directory: Path = tmp_path_factory.mktemp("conformance")
    place = store_templates.migrated(request.param, directory)
    store = place.open()
    talk = Conversation(store, ACTIONS)
    converse(talk)
    yield talk
    store.close()
    place.remove()


def test_every_action_is_one_of_the_model() -> None:
    assert ACTIONS.keys() <= OPERATIONS.keys()


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_an_action_is_answered_and_all_its_members_are_understood(talk: Conversation, name: str) -> None:
    assert name in talk.answered
    unsaid = set(paths_of(OPERATIONS[name].input_shape)) - talk.said[name]
    assert sorted(unsaid) == []
