"""A conversation in the words of botocore's model, which notes what was said and checks every answer.

What an action replies must have the types of its output shape before it is serialised, and botocore must read the same
from the XML. What callers have said is noted by member, so that a test can tell what nobody has said yet.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from botocore.model import ListShape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from gateway.actions import ActionError, Caller, Face, Role
from gateway.api.dispatch import Dispatcher, Request
from gateway.api.parsing import parse_fields_untrusted
from gateway.api.service_model import load_services
from tests.unit.gateway.api.site import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.model import OperationModel, Shape

    from gateway.actions import Action, Call
    from gateway.store import Store

__all__ = ["OPERATIONS", "Conversation", "check_shape", "paths_of"]

OPERATIONS: dict[str, OperationModel] = {
    name: service.operation_model(name) for service in load_services().values() for name in service.operation_names
}
CALLER = Caller("PWKACONFORMS", Role.ADMIN, Face.API)

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (datetime, str),
    "blob": (bytes,),
}


class Conversation:
    """What a caller and the dispatcher say to each other."""

    def __init__(self, store: Store, actions: Mapping[str, Action]) -> None:
        self.store = store
        self.said: dict[str, set[str]] = defaultdict(set)
        """Paths of members that were said, by operation."""
        self.answered: set[str] = set()
        """Operations that were answered with a reply at least once."""
        self._replies: list[dict[str, Any]] = []
        checked = {name: replace(action, run=self._checked(action)) for name, action in actions.items()}
        self._dispatcher = Dispatcher(store, SETTINGS, checked)

    def say(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Carry out a call, and a dry run of it before; return what botocore reads from the reply."""
        model = OPERATIONS[operation]
        if model.input_shape is not None and "DryRun" in model.input_shape.members:
            self.refused("DryRunOperation", operation, **parameters, DryRun=True)
        body = self._carry_out(model, parameters)
        parsed = create_parser(model.service_model.protocol).parse(
            {"body": body, "headers": {}, "status_code": 200}, model.output_shape
        )
        parsed.pop("ResponseMetadata")
        assert parsed == (_as_read(self._replies[-1], model.output_shape) if model.output_shape else {})
        self.answered.add(operation)
        return dict(parsed)

    def refused(self, code: str, operation: str, **parameters: Any) -> str:
        """The call must be refused with this code; returns the sentence."""
        with pytest.raises(ActionError) as caught:
            self._carry_out(OPERATIONS[operation], parameters)
        assert caught.value.code == code, caught.value.message
        return caught.value.message

    def _carry_out(self, model: OperationModel, parameters: dict[str, Any]) -> bytes:
        if model.input_shape is not None:
            self.said[model.name] |= set(_paths_in(parameters, model.input_shape))
        form = create_serializer(model.service_model.protocol).serialize_to_request(parameters, model)["body"]
        fields = parse_fields_untrusted(urlencode(form).encode())
        return self._dispatcher.carry_out(Request(model.service_model, model.name, fields, CALLER, "the-id"))

    def _checked(self, action: Action) -> Any:
        shape = OPERATIONS[action.name].output_shape

        def run(call: Call) -> dict[str, Any]:
            reply = action.run(call)
            if shape is not None:
                check_shape(reply, shape, action.name)
            self._replies.append(reply)
            return reply

        return run

    def settle(self, table: Any, **values: Any) -> None:
        """Do to all rows of a table what a daemon would do."""
        with self.store.write() as connection:
            connection.execute(table.update().values(**values))


def check_shape(value: Any, shape: Shape, path: str) -> None:
    """Fail where a value does not have the type of its shape; None stands for what is absent."""
    if isinstance(shape, StructureShape):
        assert isinstance(value, dict), f"{path} is no record: {value!r}"
        unknown = value.keys() - shape.members.keys()
        assert not unknown, f"{path} has no members {unknown}"
        for name, member in value.items():
            if member is not None:
                check_shape(member, shape.members[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        assert isinstance(value, list | tuple), f"{path} is no list: {value!r}"
        for item in value:
            check_shape(item, shape.member, f"{path}[]")
    else:
        assert isinstance(value, _PYTHON_TYPES[shape.type_name]), f"{path} is no {shape.type_name}: {value!r}"
        assert isinstance(value, bool) == (shape.type_name == "boolean"), f"{path} is no {shape.type_name}: {value!r}"
        allowed = getattr(shape, "enum", ())
        assert not allowed or value in allowed, f"{path} is none of {allowed}: {value!r}"


def paths_of(shape: Shape | None, path: str = "") -> Iterator[str]:
    """Every member of a shape and of what it is made of, as `Filters[].Name`."""
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield f"{path}{name}"
            yield from paths_of(member, f"{path}{name}.")
    elif isinstance(shape, ListShape):
        yield from paths_of(shape.member, f"{path.removesuffix('.')}[].")


def _paths_in(value: Any, shape: Shape, path: str = "") -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            yield f"{path}{name}"
            yield from _paths_in(member, shape.members[name], f"{path}{name}.")
    elif isinstance(shape, ListShape):
        for item in value:
            yield from _paths_in(item, shape.member, f"{path.removesuffix('.')}[].")


def _as_read(value: Any, shape: Shape) -> Any:
    """A reply as botocore reads it: without what is absent, and with times to the millisecond."""
    if isinstance(shape, StructureShape):
        said = {name: member for name, member in value.items() if member is not None}
        return {name: _as_read(member, shape.members[name]) for name, member in said.items()}
    if isinstance(shape, ListShape):
        return [_as_read(item, shape.member) for item in value]
    if shape.type_name == "timestamp":
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return value
