"""From form fields to an action's parameters, by the input shapes of the service model.

    Filter.1.Name=origin&Filter.1.Value.1=associate  ▶  {"Filters": [{"Name": "origin", "Values": ["associate"]}]}

The mirror image of botocore's serializers for the protocols `ec2` and `query`, for the types that the models have:
structures, lists, strings, booleans, whole and other numbers, timestamps and blobs. Everything comes from strangers,
and raises `ActionError` only, with EC2's codes. Must not know what parameters mean.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from botocore.model import ListShape, StringShape, StructureShape

from gateway.actions import ActionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.model import OperationModel, Shape

__all__ = ["MAX_FIELDS", "parse_fields_untrusted", "parse_parameters_untrusted"]

MAX_FIELDS = 8192
"""Of one request. A hundred filters of sixty values stay below it."""
MAX_DEPTH = 12
"""Parts of a field's name; EC2's deepest shapes here have seven."""
SHOWN = 80
"""How much of a value a message repeats."""

_COMMON_FIELDS = frozenset({"Action", "Version"})
_SIGNATURE_PREFIX = "X-Amz-"
_POSITION = re.compile(r"[1-9][0-9]{0,5}")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot carry, so that no reply could ever repeat it."""
_RANGES = {"integer": 31, "long": 63}

_Tree = dict[str, "str | _Tree"]
"""Fields by the parts of their names."""


def parse_fields_untrusted(form: bytes) -> dict[str, str]:
    """Decode a form or a query string into its fields. Raises `ActionError`."""
    try:
        pairs = parse_qsl(
            form.decode("ascii"), keep_blank_values=True, strict_parsing=bool(form), errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except ValueError as error:
        sentence = f"The request is no form in UTF-8 with at most {MAX_FIELDS} fields."
        raise ActionError("MalformedQueryString", sentence, 404) from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise ActionError("InvalidQueryParameter", f"The parameter {_shown(name)} is given more than once.")
        fields[name] = value
    return fields


def parse_parameters_untrusted(fields: Mapping[str, str], operation: OperationModel) -> dict[str, Any]:
    """Return an operation's parameters by the SDK's member names. Raises `ActionError`.

    Required members are there, types, enumerations and bounds hold; what was not given is absent. Fields that belong
    to the protocol are skipped, any other that the model does not know is an `UnknownParameter`.
    """
    tree = _build_tree(
        (name, value)
        for name, value in fields.items()
        if name not in _COMMON_FIELDS and not name.startswith(_SIGNATURE_PREFIX)
    )
    shape = operation.input_shape
    if shape is None:
        _refuse_unknown(tree, (), "")
        return {}
    reader = _Reader(operation.service_model.protocol == "ec2")
    return cast("dict[str, Any]", reader.read(tree, shape, ""))


def _build_tree(fields: Iterator[tuple[str, str]]) -> _Tree:
    root: _Tree = {}
    for name, value in fields:
        *parents, last = name.split(".", MAX_DEPTH)
        branch: str | _Tree = root
        for part in parents:
            branch = branch.setdefault(part, {}) if isinstance(branch, dict) else ""
        if not isinstance(branch, dict) or last in branch:
            raise ActionError("InvalidParameterCombination", f"The parameter {_shown(name)} has a value and parts.")
        branch[last] = value
    return root


class _Reader:
    """Reads trees by shapes, for one of the two protocols."""

    def __init__(self, is_ec2: bool) -> None:
        self._is_ec2 = is_ec2

    def read(self, value: str | _Tree, shape: Shape, name: str) -> Any:
        """`name` is the field's, for messages."""
        if isinstance(shape, StructureShape):
            return self._read_structure(_as_branch(value, name), shape, name)
        if isinstance(shape, ListShape):
            return self._read_list(value, shape, name)
        if isinstance(value, dict):
            _refuse_unknown(value, (), name)
        return _SCALARS[shape.type_name](str(value), shape, name)

    def _read_structure(self, branch: _Tree, shape: StructureShape, name: str) -> dict[str, Any]:
        members = {self._field_name(member, key): (key, member) for key, member in shape.members.items()}
        _refuse_unknown(branch, members, name)
        for field, (key, _) in members.items():
            if key in shape.required_members and branch.get(field, "") == "":
                raise ActionError("MissingParameter", f"The request must contain the parameter {_joined(name, field)}.")
        return {
            key: self.read(branch[field], member, _joined(name, field))
            for field, (key, member) in members.items()
            if field in branch
        }

    def _read_list(self, value: str | _Tree, shape: ListShape, name: str) -> list[Any]:
        if value == "":
            return []  # how the query protocol writes an empty list
        branch = _as_branch(value, name)
        if not self._is_ec2:
            wrapper = str(shape.member.serialization.get("name", "member"))
            _refuse_unknown(branch, (wrapper,), name)
            branch, name = _as_branch(branch[wrapper], name), _joined(name, wrapper)
        _refuse_unknown(branch, filter(_POSITION.fullmatch, branch), name)
        items = [
            self.read(branch[position], shape.member, _joined(name, position)) for position in sorted(branch, key=int)
        ]
        _check_bounds(len(items), shape, name, "elements")
        return items

    def _field_name(self, member: Shape, default: str) -> str:
        """What a member is called on the wire; EC2's names begin with a capital, whatever replies call them."""
        serialization = member.serialization
        if not self._is_ec2:
            return str(serialization.get("name", default))
        if "queryName" in serialization:
            return str(serialization["queryName"])
        name = str(serialization.get("name", default))
        return name[0].upper() + name[1:] if "name" in serialization else name


def _as_branch(value: str | _Tree, name: str) -> _Tree:
    if isinstance(value, str):
        raise ActionError("InvalidParameterValue", f"The parameter {_shown(name)} has parts, and no value of its own.")
    return value


def _refuse_unknown(branch: _Tree, known: Any, name: str) -> None:
    unknown = branch.keys() - set(known)
    if unknown:
        field = _shown(_joined(name, min(unknown)))
        raise ActionError("UnknownParameter", f"The parameter {field} is not recognized.")


def _joined(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


# Values


def _read_string(text: str, shape: Shape, name: str) -> str:
    if _NOT_IN_XML.search(text):
        raise ActionError("InvalidParameterValue", f"The parameter {name} has control characters in it.")
    allowed = shape.enum if isinstance(shape, StringShape) else None
    if allowed and text not in allowed:
        raise _invalid(text, name, f"It can be {', '.join(allowed)}.")
    _check_bounds(len(text), shape, name, "characters")
    return text


def _read_boolean(text: str, _shape: Shape, name: str) -> bool:
    match text.lower():
        case "true":
            return True
        case "false":
            return False
    raise _invalid(text, name, "It can be true or false.")


def _read_whole_number(text: str, shape: Shape, name: str) -> int:
    limit = 1 << _RANGES[shape.type_name]
    if not _WHOLE_NUMBER.fullmatch(text) or not -limit <= int(text) < limit:
        raise _invalid(text, name, "It has to be a whole number.")
    _check_bounds(int(text), shape, name, "for its value")
    return int(text)


def _read_number(text: str, _shape: Shape, name: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise _invalid(text, name, "It has to be a number.")
    return float(text)


def _read_timestamp(text: str, _shape: Shape, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _invalid(text, name, "It has to be a time, as 2026-06-01T12:00:00Z.") from None


def _read_blob(text: str, _shape: Shape, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(text, name, "It has to be base64.") from None


_SCALARS: Mapping[str, Callable[[str, Shape, str], Any]] = {
    "string": _read_string,
    "boolean": _read_boolean,
    "integer": _read_whole_number,
    "long": _read_whole_number,
    "float": _read_number,
    "double": _read_number,
    "timestamp": _read_timestamp,
    "blob": _read_blob,
}


def _check_bounds(size: int, shape: Shape, name: str, unit: str) -> None:
    least, most = shape.metadata.get("min", size), shape.metadata.get("max", size)
    if not least <= size <= most:
        span = f"{least} to {most}" if {"min", "max"} <= shape.metadata.keys() else f"at least {least}"
        span = span if "min" in shape.metadata else f"at most {most}"
        code = "InvalidMaxResults" if name == "MaxResults" else "InvalidParameterValue"
        raise ActionError(code, f"The parameter {name} has {size} {unit}; it can have {span}.")


def _invalid(text: str, name: str, what_is_right: str) -> ActionError:
    shown = _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", _shown(text))
    return ActionError("InvalidParameterValue", f"Value ({shown}) for parameter {name} is invalid. {what_is_right}")
