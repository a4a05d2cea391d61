"""The two actions about declarations: what is to be is applied, or planned; what is there is exported."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.actions.call import ActionError, Call, action
from gateway.actions.declaration.changes import Work
from gateway.actions.declaration.effects import access_changes, affected_sessions, read_reach
from gateway.actions.declaration.endpoints import prune_endpoints, put_endpoints
from gateway.actions.declaration.groups import prune_groups, put_groups
from gateway.actions.declaration.identities import identify
from gateway.actions.declaration.state import read_state
from gateway.actions.security_groups import check_group_quota
from gateway.config.declaration import parse_declaration
from gateway.config.problems import ConfigError

if TYPE_CHECKING:
    from gateway.actions.declaration.changes import Change
    from gateway.actions.declaration.comparison import Difference
    from gateway.actions.declaration.effects import AccessChange, AffectedSession
    from gateway.actions.declaration.state import State
    from gateway.config.declaration import Declaration

__all__ = ["apply_configuration", "export_configuration"]


@action("ApplyConfiguration", changes=True)
def apply_configuration(call: Call) -> dict[str, Any]:
    """Make the store what a document says, all of it or nothing; with `Plan`, only say what that would do.

    What is refused is refused with the code of the action that refuses it, and the place in the document. Raises
    `InvalidParameterValue` for a document that is none, and `IncorrectState` where the store is not what the expected
    digest is of.
    """
    text, prunes = call.parameters["Document"], bool(call.parameters.get("Prune"))
    declaration = _read(text)
    state = _state(call)
    digest = _digest(text, prunes, state)
    _check_expected(call, digest)
    savepoint = call.connection.begin_nested()
    reply = _carry_out(call, declaration, state, prunes=prunes)
    is_plan = bool(call.parameters.get("Plan"))
    if is_plan:
        savepoint.rollback()
    else:
        savepoint.commit()
        call.after = reply["Changes"]
    call.affects_gateways = bool(reply["Changes"]) and not is_plan
    return {"Digest": digest, "Applied": not is_plan, **reply}


@action("ExportConfiguration")
def export_configuration(call: Call) -> dict[str, Any]:
    """Give all endpoints that were made at run time, and the security groups, as a document that makes the same."""
    return {"Document": json.dumps(_state(call).exported(), indent=1)}


def _carry_out(call: Call, declaration: Declaration, state: State, *, prunes: bool) -> dict[str, Any]:
    work = Work(call)
    before = read_reach(call, state)
    held = identify(call, state, declaration.endpoint)
    if prunes:
        prune_endpoints(work, state, held)
    ids = put_groups(work, state, declaration.security_group)
    put_endpoints(work, state, ids, declaration.endpoint, held)
    if prunes:
        prune_groups(work, state, declaration.security_group)
    if work.changes:
        check_group_quota(call)
    after = read_reach(call, _state(call))
    return {
        "Changes": [_change_shape(change) for change in work.by_owner()],
        "Access": [_access_shape(change) for change in access_changes(before, after)],
        "Sessions": [_session_shape(session) for session in affected_sessions(call, before, after)],
        "Notes": work.notes,
    }


def _read(text: str) -> Declaration:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ActionError("InvalidParameterValue", f"Document is no JSON: {error}.") from None
    if not isinstance(raw, dict):
        raise ActionError(
            "InvalidParameterValue", "Document has to be a JSON object, as ExportConfiguration gives one."
        )
    try:
        return parse_declaration(raw)
    except ConfigError as error:
        raise ActionError("InvalidParameterValue", str(error)) from None


def _state(call: Call) -> State:
    try:
        return read_state(call)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        sentence = f"The store has a {error.title} that no declaration can say: {key}: {first['msg']}."
        raise ActionError("IncorrectState", sentence) from None


def _digest(text: str, prunes: bool, state: State) -> str:
    """Of all that a plan follows from: the document, and what it is about in the store."""
    networks = [[str(value) for value in state.networks[name]] for name in sorted(state.networks)]
    basis = json.dumps([text, prunes, state.exported(), networks])
    return hashlib.sha256(basis.encode()).hexdigest()


def _check_expected(call: Call, digest: str) -> None:
    expected = call.parameters.get("ExpectedDigest")
    if expected and expected != digest:
        raise ActionError(
            "IncorrectState",
            "This is not what was planned: the document, or the store, has changed since. Look at a new plan first.",
        )


def _change_shape(change: Change) -> dict[str, Any]:
    details = [
        {"Key": detail.key}
        | ({"Old": detail.old} if detail.old is not None else {})
        | ({"New": detail.new} if detail.new is not None else {})
        for detail in change.details
    ]
    return {"Kind": change.kind.value, "What": change.what, "KeyPath": change.key_path, "Details": details}


def _access_shape(change: AccessChange) -> dict[str, Any]:
    who = {"AllGroups": True} if change.group is None else {"AllGroups": False, "GroupId": change.group}
    return {
        "Endpoint": change.endpoint,
        **who,
        "Gains": list(change.difference.gains),
        "Losses": list(change.difference.losses),
    }


def _session_shape(session: AffectedSession) -> dict[str, Any]:
    row = session.row
    return {
        "ConnectionId": row.id,
        "ClientVpnEndpointId": row.endpoint_id,
        "Endpoint": session.endpoint,
        "Username": row.username,
        "CommonName": row.common_name,
        "Groups": list(row.groups),
        "Effects": list(session.effects),
        **_difference_shape(session.difference),
    }


def _difference_shape(difference: Difference) -> dict[str, list[str]]:
    return {"Gains": list(difference.gains), "Losses": list(difference.losses)}
