"""A plan as people read it: what is done, who gains and loses access, and who notices.

Owns the words and the layout. Must not know how plans are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["plan_text"]

_SIGNS = {"create": "+", "modify": "~", "replace": "±", "delete": "-"}
_MOST_NETWORKS = 8
"""How many networks are named before the rest is counted; --json has all of them."""


def plan_text(reply: Mapping[str, Any]) -> str:
    """The whole of it, several lines; one line where there is nothing to do."""
    changes = reply.get("Changes", ())
    if not changes:
        return "\n".join(["Nothing to do: the store is as the file says.", *_notes(reply)])
    counts = [(kind, sum(change["Kind"] == kind for change in changes)) for kind in _SIGNS]
    summary = ", ".join(f"{count} to {kind}" for kind, count in counts if count)
    sections = (_changes(reply), _access(reply), _sessions(reply), _notes(reply))
    return "\n".join(line for section in sections for line in section) + f"\n{summary}."


def _changes(reply: Mapping[str, Any]) -> Iterator[str]:
    for change in reply["Changes"]:
        yield f"{_SIGNS[change['Kind']]} {change['What']}"
        for detail in change.get("Details", ()):
            yield f"    {detail['Key']}: {_values(detail)}"


def _values(detail: Mapping[str, str]) -> str:
    old, new = detail.get("Old"), detail.get("New")
    if old is None:
        return _shown(new)
    return f"{_shown(old)} → {_shown(new)}"


def _shown(value: str | None) -> str:
    return "(none)" if value is None else value or '""'


def _access(reply: Mapping[str, Any]) -> Iterator[str]:
    changes = reply.get("Access", ())
    yield ""
    if not changes:
        yield "Nobody gains or loses access."
        return
    yield "Access:"
    for change in changes:
        who = "everyone" if change["AllGroups"] else f'the group "{change["GroupId"]}"'
        for sign, verb, networks in (("+", "gains", change.get("Gains")), ("-", "loses", change.get("Losses"))):
            if networks:
                yield f'{sign} {who} {verb} {_networks(networks)} at endpoint "{change["Endpoint"]}"'
        if not change.get("Gains") and not change.get("Losses"):
            yield f'= for {who} nothing changes at endpoint "{change["Endpoint"]}"'


def _networks(networks: list[str]) -> str:
    rest = len(networks) - _MOST_NETWORKS
    return ", ".join(networks[:_MOST_NETWORKS]) + (f" and {rest} more networks" if rest > 0 else "")


def _sessions(reply: Mapping[str, Any]) -> Iterator[str]:
    sessions = reply.get("Sessions", ())
    yield ""
    if not sessions:
        yield "Nobody who is connected notices."
        return
    yield "Connected users:"
    for session in sessions:
        who = session.get("Username") or session.get("CommonName") or session["ConnectionId"]
        effects = ", ".join(session["Effects"])
        moves = [
            f"{verb} {_networks(session[key])}"
            for verb, key in (("gains", "Gains"), ("loses", "Losses"))
            if session.get(key) and "is cut off" not in session["Effects"]
        ]
        yield f'! {who} at endpoint "{session["Endpoint"]}": {"; ".join([effects, *moves])}'


def _notes(reply: Mapping[str, Any]) -> Iterator[str]:
    notes = reply.get("Notes", ())
    if notes:
        yield ""
    yield from notes
