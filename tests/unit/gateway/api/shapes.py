"""Values for shapes of the service model, as hypothesis draws them: what a caller may say, and what an action may."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, StructureShape
from hypothesis import strategies as st

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

MOST_ITEMS = 3
XML_TEXT = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"),
        st.sampled_from("\t\n\r&<>'\"+%=;. "),
    ),
    max_size=20,
)
_MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - see timezones
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def requests(operation: OperationModel) -> st.SearchStrategy[dict[str, Any]]:
    """What the operation's input shape allows, as botocore's serializer takes it."""
    shape = operation.input_shape
    return _structures(shape, said_by_caller=True) if shape is not None else st.just({})


def replies(operation: OperationModel) -> st.SearchStrategy[dict[str, Any]]:
    """What the operation's output shape allows, in the types that botocore's parser gives."""
    shape = operation.output_shape
    return _structures(shape, said_by_caller=False) if shape is not None else st.just({})


def _structures(shape: StructureShape, *, said_by_caller: bool) -> st.SearchStrategy[dict[str, Any]]:
    members = {name: _values(member, said_by_caller=said_by_caller) for name, member in shape.members.items()}
    required = set(shape.required_members) if said_by_caller else set()
    return st.fixed_dictionaries(
        {name: members[name].filter(lambda value: value not in ("", [], {})) for name in sorted(required)},
        optional={name: value for name, value in members.items() if name not in required},
    )


def _values(shape: Shape, *, said_by_caller: bool) -> st.SearchStrategy[Any]:
    if isinstance(shape, StructureShape):
        return _structures(shape, said_by_caller=said_by_caller)
    if isinstance(shape, ListShape):
        items = _values(shape.member, said_by_caller=said_by_caller).filter(lambda item: item not in ([], {}))
        most = min(shape.metadata.get("max", MOST_ITEMS), MOST_ITEMS)
        return st.lists(items, min_size=shape.metadata.get("min", 0), max_size=most)
    return _scalars(shape)


def _scalars(shape: Shape) -> st.SearchStrategy[Any]:
    match shape.type_name:
        case "string":
            return _strings(shape)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(shape.metadata.get("min", -(2**31)), shape.metadata.get("max", 2**31 - 1))
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "double" | "float":
            return _NUMBERS
        case "timestamp":
            return _MOMENTS
        case "blob":
            return st.binary(max_size=20)
    raise AssertionError(f"{shape.name} is a {shape.type_name}, which no test knows")


def _strings(shape: Shape) -> st.SearchStrategy[str]:
    if shape.enum:
        return st.sampled_from(shape.enum)
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 10_000)
    return XML_TEXT.map(lambda text: text.ljust(least, "-")[:most])
