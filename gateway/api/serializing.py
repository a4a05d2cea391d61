"""From an action's reply to XML, by the output shapes of the service model; and errors.

    ec2     <XResponse><requestId/>members…</XResponse>
    query   <XResponse><XResult>members…</XResult><ResponseMetadata><RequestId/></ResponseMetadata></XResponse>

botocore's parser gives back exactly what went in. Whatever text holds, what comes out is well-formed: what XML 1.0
cannot carry becomes U+FFFD. Must not know what replies mean.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, StructureShape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import OperationModel, Shape

__all__ = ["XML", "ReplyError", "build_error", "build_reply"]

XML = "text/xml;charset=UTF-8"
"""The media type of all that is built here."""

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_find_special = re.compile("[^\t\n\x20-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").search
"""Finds what cannot stand in XML as it is: what it cannot carry, `&`, `<`, `>` and the carriage return."""
# A parser takes a bare carriage return for the end of a line, and gives back another one.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


class ReplyError(Exception):
    """An action has replied what its output shape does not have."""


def build_reply(operation: OperationModel, reply: Mapping[str, Any], request_id: str) -> bytes:
    """Build the reply of an operation, a value by the SDK's member names. None stands for what is absent.

    Raises `ReplyError` where the value does not fit the shape.
    """
    (members,) = _writer_of(operation)([reply])
    is_ec2 = operation.service_model.protocol == "ec2"
    if is_ec2:
        content = f"<requestId>{_escape(request_id)}</requestId>{members}"
    else:
        result = f"<{operation.name}Result>{members}</{operation.name}Result>"
        content = f"{result}<ResponseMetadata><RequestId>{_escape(request_id)}</RequestId></ResponseMetadata>"
    # EC2's documents end in a slash that its model leaves out.
    namespace = f"{operation.metadata['xmlNamespace']}{'/' if is_ec2 else ''}"
    return f'{_DECLARATION}<{operation.name}Response xmlns="{namespace}">{content}</{operation.name}Response>'.encode()


def build_error(code: str, message: str, request_id: str, *, status: int, is_ec2: bool = True) -> bytes:
    """Build what is said of a request that is refused."""
    error = f"<Code>{_escape(code)}</Code><Message>{_escape(message)}</Message>"
    identity = _escape(request_id)
    if is_ec2:
        body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{identity}</RequestID></Response>"
    else:
        fault = "Receiver" if status >= 500 else "Sender"
        error = f"<Error><Type>{fault}</Type>{error}</Error>"
        body = f"<ErrorResponse>{error}<RequestId>{identity}</RequestId></ErrorResponse>"
    return f"{_DECLARATION}{body}".encode()


# Shapes become functions once, and these write all values of a member together: where a page has a thousand records of
# a dozen members, each member costs a few passes over a list, and is searched once for what XML cannot hold.

_Write = Callable[[Sequence[Any]], list[str]]
"""Gives the XML of each value, without the tags around it."""


@lru_cache(maxsize=256)
def _writer_of(operation: OperationModel) -> _Write:
    """What writes the members of an operation's reply; lists call their elements differently in the two protocols."""
    item = "item" if operation.service_model.protocol == "ec2" else "member"
    members = operation.output_shape.members if operation.output_shape is not None else {}
    return _structure_writer(members, operation.name, item)


def _writer(shape: Shape, name: str, item: str) -> _Write:
    if isinstance(shape, StructureShape):
        return _structure_writer(shape.members, name, item)
    if isinstance(shape, ListShape):
        return _list_writer(shape, name, item)
    return _SCALARS[shape.type_name]


def _structure_writer(members: Mapping[str, Shape], name: str, item: str) -> _Write:
    known = members.keys()
    tags = {key: str(member.serialization.get("name", key)) for key, member in members.items()}
    plan = [(key, _tagged(tags[key], _writer(members[key], tags[key], item))) for key in members]

    def write(values: Sequence[Mapping[str, Any]]) -> list[str]:
        named = set().union(*values)
        if not named <= known:
            raise ReplyError(f"{name} has no member {min(named - known)}")
        columns = [write_member([value.get(key) for value in values]) for key, write_member in plan if key in named]
        return ["".join(texts) for texts in zip(*columns, strict=True)] if columns else [""] * len(values)

    return write


def _tagged(tag: str, write: _Write) -> _Write:
    """The same with tags around each value; nothing where there is None."""
    opening, closing = f"<{tag}>", f"</{tag}>"

    def write_tagged(values: Sequence[Any]) -> list[str]:
        if None not in values:
            return [f"{opening}{text}{closing}" for text in write(values)]
        texts = iter(write([value for value in values if value is not None]))
        return ["" if value is None else f"{opening}{next(texts)}{closing}" for value in values]

    return write_tagged


def _list_writer(shape: ListShape, name: str, item: str) -> _Write:
    tag = str(shape.member.serialization.get("name", item))
    write_elements = _tagged(tag, _writer(shape.member, name, item))

    def write(values: Sequence[Sequence[Any]]) -> list[str]:
        texts = iter(write_elements([element for value in values for element in value]))
        return ["".join(islice(texts, len(value))) for value in values]

    return write


def _texts(values: Sequence[object]) -> list[str]:
    texts = [*map(str, values)]
    return texts if _find_special("".join(texts)) is None else [*map(_escape, texts)]


def _escape(text: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text).translate(_ESCAPES)


def _each(to_text: Callable[[Any], str]) -> _Write:
    return lambda values: [to_text(value) for value in values]


def _boolean(value: Any) -> str:
    return "true" if value else "false"


def _timestamp(value: Any) -> str:
    """A time as it is written; one that is text already comes from a reply that was kept."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _escape(value)


def _blob(value: Any) -> str:
    return base64.b64encode(value).decode()


_SCALARS: Mapping[str, _Write] = {
    "string": _texts,
    "boolean": _each(_boolean),
    "integer": _texts,
    "long": _texts,
    "float": _texts,
    "double": _texts,
    "timestamp": _each(_timestamp),
    "blob": _each(_blob),
}
