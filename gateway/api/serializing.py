"""From an action's reply to XML, by the output shapes of the service model; and errors.

    ec2     <XResponse><requestId/>members…</XResponse>
    query   <XResponse><XResult>members…</XResult><ResponseMetadata><RequestId/></ResponseMetadata></XResponse>

botocore's parser gives back exactly what went in. Whatever text holds, what comes out is well-formed: what XML 1.0
cannot carry becomes U+FFFD. Must not know what replies mean.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, StructureShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.model import OperationModel, Shape

__all__ = ["XML", "ReplyError", "build_error", "build_reply"]

XML = "text/xml;charset=UTF-8"
"""The media type of all that is built here."""

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A parser takes a bare carriage return for the end of a line, and gives back another one.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


class ReplyError(Exception):
    """An action has replied what its output shape does not have."""


def build_reply(operation: OperationModel, reply: Mapping[str, Any], request_id: str) -> bytes:
    """Build the reply of an operation, a value by the SDK's member names. None stands for what is absent.

    Raises `ReplyError` where the value does not fit the shape.
    """
    is_ec2 = operation.service_model.protocol == "ec2"
    writer = _Writer("item" if is_ec2 else "member")
    shape = operation.output_shape
    if shape is None and reply:
        raise ReplyError(f"{operation.name} replies nothing")
    members = "".join(writer.members(reply, shape, operation.name)) if isinstance(shape, StructureShape) else ""
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


class _Writer:
    """Writes values by shapes; `item_name` is what elements of lists are called where the model does not say."""

    def __init__(self, item_name: str) -> None:
        self._item_name = item_name

    def members(self, value: Mapping[str, Any], shape: StructureShape, name: str) -> Iterator[str]:
        unknown = value.keys() - shape.members.keys()
        if unknown:
            raise ReplyError(f"{name} has no member {min(unknown)}")
        for key, member in shape.members.items():
            if value.get(key) is not None:
                yield from self._element(str(member.serialization.get("name", key)), value[key], member)

    def _element(self, tag: str, value: Any, shape: Shape) -> Iterator[str]:
        yield f"<{tag}>"
        if isinstance(shape, StructureShape):
            yield from self.members(value, shape, tag)
        elif isinstance(shape, ListShape):
            item = str(shape.member.serialization.get("name", self._item_name))
            for element in value:
                yield from self._element(item, element, shape.member)
        else:
            yield _SCALARS[shape.type_name](value)
        yield f"</{tag}>"


def _escape(text: object) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", str(text)).translate(_ESCAPES)


def _boolean(value: Any) -> str:
    return "true" if value else "false"


def _timestamp(value: Any) -> str:
    """A time as it is written; one that is text already comes from a reply that was kept."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _escape(value)


def _blob(value: Any) -> str:
    return base64.b64encode(value).decode()


_SCALARS: Mapping[str, Callable[[Any], str]] = {
    "string": _escape,
    "boolean": _boolean,
    "integer": _escape,
    "long": _escape,
    "float": _escape,
    "double": _escape,
    "timestamp": _timestamp,
    "blob": _blob,
}
