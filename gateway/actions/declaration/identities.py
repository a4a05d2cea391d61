"""Which endpoint of the store each one of a file is: by its id, or by the tag `Name`.

An id comes first: the endpoint that it means may have another name from now on, and its former one is free for others
of the same file. Must not know what endpoints are made of.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.actions.declaration.changes import refuse
from gateway.actions.declaration.state import NAME, is_endpoint_id
from gateway.store.schema import endpoint as endpoint_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from gateway.actions.call import Call
    from gateway.actions.declaration.state import Held, State
    from gateway.config.declaration import Endpoint

__all__ = ["identify"]


def identify(call: Call, state: State, wanted: Sequence[Endpoint]) -> list[Held | None]:
    """What the store has of each endpoint, under the name that the file calls it by; None for a new one.

    Raises `ActionError` for an id that there is not, and where it would not be clear which endpoint a name means.
    """
    _check_names(wanted)
    by_id = {held.row.id: held for held in state.endpoints.values()}
    claimed = {endpoint.name for endpoint in wanted if is_endpoint_id(endpoint.name)}
    found: list[Held | None] = []
    for index, endpoint in enumerate(wanted):
        path = f"endpoint[{index}].name"
        if not is_endpoint_id(endpoint.name):
            found.append(_find_by_name(call, state, endpoint.name, claimed, path))
        elif endpoint.name in by_id:
            found.append(by_id[endpoint.name].under(endpoint.name))
        else:
            sentence = f"There is no endpoint {endpoint.name}. Ids are made by Portway: give a new one a name."
            raise refuse(path, sentence, "InvalidClientVpnEndpointId.NotFound")
    return found


def _check_names(wanted: Sequence[Endpoint]) -> None:
    """Whether each endpoint of the file has a name of its own, when the file has been applied."""
    for index, endpoint in enumerate(wanted):
        if NAME in endpoint.tags and not is_endpoint_id(endpoint.name):
            raise refuse(f"endpoint[{index}].tags.{NAME}", "The endpoint's name is this tag. Take one of them out.")
    times = Counter(map(_name_to_be, wanted))
    for index, endpoint in enumerate(wanted):
        name = _name_to_be(endpoint)
        if name and is_endpoint_id(endpoint.name) and times[name] > 1:
            sentence = f'Another endpoint of this file is called "{name}". Choose another name for one of them.'
            raise refuse(f"endpoint[{index}].tags.{NAME}", sentence)


def _name_to_be(endpoint: Endpoint) -> str:
    return endpoint.tags.get(NAME, "") if is_endpoint_id(endpoint.name) else endpoint.name


def _find_by_name(call: Call, state: State, name: str, claimed: AbstractSet[str], path: str) -> Held | None:
    found = [held for held in state.endpoints.values() if held.tag == name and held.row.id not in claimed]
    if len(found) > 1:
        ids = ", ".join(sorted(held.row.id for held in found))
        raise refuse(path, f'Several endpoints are called "{name}": {ids}. Name the one that is meant by its id.')
    if found:
        return found[0].under(name)
    _check_is_of_no_file(call, name, path)
    return None


def _check_is_of_no_file(call: Call, name: str, path: str) -> None:
    table = endpoint_table.c
    query = select(endpoint_table).where(table.name == name, table.ended_at.is_(None), table.origin == "file")
    declared = call.connection.execute(query).first()
    if declared is not None:
        sentence = f"The endpoint is declared in {declared.declared_in}. Change it there, and run `portway reload`."
        raise refuse(path, sentence, "UnsupportedOperation")
