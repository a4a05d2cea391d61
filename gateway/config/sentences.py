"""From pydantic's errors to sentences that name the key and say what to do.

Owns the wording for what can be wrong with the shape of a file. Must not know what single keys mean: it asks the
models for that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from gateway.config.problems import Problem, WrongValue
from gateway.config.values import nearest, printable, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["endpoint_names", "key_path_of", "problems_of", "section_of", "where_of"]

_ENDPOINT = re.compile(r"endpoint\[(\d+)\]")

Location = tuple[int | str, ...]

_EXPECTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list in brackets",
    "model_type": "a table",
    "finite_number": "a number",
    "int_parsing_size": "a number that can be meant",
}


def problems_of(error: ValidationError, model: type[BaseModel], raw: dict[str, Any]) -> tuple[Problem, ...]:
    """Return the problems that validating `raw` against `model` has found, in the model's order."""
    names = endpoint_names(raw)
    return tuple(
        Problem(path, _as_sentence(words), where_of(path, names))
        for detail in error.errors(include_url=False)
        for path in (key_path_of(detail["loc"]),)
        for words in _words(detail, model)
    )


def key_path_of(location: Location) -> str:
    """Write a location as people do: `endpoint[0].route[2].target`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def endpoint_names(raw: dict[str, Any]) -> list[str]:
    """Return the endpoints' names as far as the file tells them; empty ones hold the places of the others."""
    endpoints = raw.get("endpoint")
    if not isinstance(endpoints, list):
        return []
    names = (endpoint.get("name") if isinstance(endpoint, dict) else None for endpoint in endpoints)
    return [name if isinstance(name, str) else "" for name in names]


def where_of(key_path: str, names: list[str]) -> str:
    """Name the endpoint that a key path lies in."""
    match = _ENDPOINT.match(key_path)
    name = names[int(match[1])] if match and int(match[1]) < len(names) else ""
    return f"endpoint {shown(name)}" if name else ""


def _as_sentence(words: str) -> str:
    words = printable(words)
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "?", "…")) else ".")


def _words(detail: ErrorDetails, model: type[BaseModel]) -> Iterator[str]:
    kind, location, context = detail["type"], detail["loc"], detail.get("ctx", {})
    value = shown(detail["input"])
    if isinstance(context.get("error"), WrongValue):
        yield from context["error"].sentences
    elif kind == "missing":
        yield f"missing. {_meaning(model, location)}"
    elif kind == "extra_forbidden":
        yield _unknown_key(model, location)
    elif kind == "literal_error":
        yield _no_choice(detail)
    elif kind in _EXPECTED:
        yield f"must be {_EXPECTED[kind]}, not {value}"
    elif kind in {"greater_than_equal", "less_than_equal", "greater_than"}:
        bound = next(iter(context.values()))
        relation = {"greater_than_equal": "at least", "less_than_equal": "at most", "greater_than": "more than"}[kind]
        yield f"must be {relation} {bound}, not {value}"
    elif kind in {"too_short", "string_too_short"}:
        yield f"must not be empty. {_meaning(model, location)}"
    elif kind == "string_too_long":
        yield f"must have {context['max_length']} characters at most"
    else:
        yield f"cannot be used: {detail['msg']}"


def _no_choice(detail: ErrorDetails) -> str:
    value, expected = detail["input"], detail.get("ctx", {}).get("expected", "")
    choices = [choice.strip("'") for choice in expected.replace(" or ", ", ").split(", ")]
    near = nearest(value, choices) if isinstance(value, str) else None
    hint = f'; did you mean "{near}"?' if near else ""
    return f"must be {_quoted(expected)}, not {shown(value)}{hint}"


def _quoted(expected: str) -> str:
    return expected.replace("'", '"')


def _unknown_key(model: type[BaseModel], location: Location) -> str:
    key = str(location[-1])
    section = _section_at(model, location[:-1])
    known = list(section.model_fields) if section else []
    elsewhere = next(_places_of(key, model, ()), None)
    near = nearest(key, known)
    if near:
        return f'is no key of this section; did you mean "{near}"?'
    if elsewhere is not None:
        return f"is no key of this section; it belongs {elsewhere}"
    return f"is no key of this section; it knows {', '.join(known)}"


def _meaning(model: type[BaseModel], location: Location) -> str:
    section = _section_at(model, location[:-1])
    if section is None or str(location[-1]) not in section.model_fields:
        return "Add it."
    return section.model_fields[str(location[-1])].description or "Add it."


def _section_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    section: type[BaseModel] | None = model
    for step in location:
        if section is not None and isinstance(step, str):
            section = section_of(section, step)
    return section


def section_of(section: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model of the table, or of the tables, that a key of a section holds; None where it holds a value."""
    field = section.model_fields.get(key)
    return next(_models_in(field.annotation), None) if field else None


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _places_of(key: str, section: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    if key in section.model_fields:
        yield f"into [{'.'.join(path)}]" if path else "at the top of the file"
    for name in section.model_fields:
        inner = section_of(section, name)
        if inner is not None:
            yield from _places_of(key, inner, (*path, name))
