"""Runs actions the way the dispatcher does: in one transaction, undone by what they raise; the reply fits the model."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.actions import ACTIONS, ActionError, Call, Caller, EndpointDefaults, Face, Role, ServiceSettings
from gateway.api.serializing import build_reply
from gateway.api.service_model import load_services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import OperationModel
    from sqlalchemy import Connection

    from gateway.store import Store

NOW = 1_780_315_200.0  # 2026-06-01 12:00 UTC
ADMIN = Caller("AKTEST", Role.ADMIN, Face.API)
SETTINGS = ServiceSettings(
    region="here",
    account_id="123456789012",
    endpoint_defaults=EndpointDefaults(public_hostname="vpn.example.com"),
    log_groups=("default", "vpn"),
)


@dataclass
class Refusal:
    """What was said, once it has been."""

    message: str = ""


def with_defaults(*, dns_suffix: str = "", **changes: Any) -> ServiceSettings:
    """Settings whose `[endpoint_defaults]` are these; the rest is as it always is."""
    defaults = replace(SETTINGS.endpoint_defaults, **changes)
    return replace(SETTINGS, dns_suffix=dns_suffix, endpoint_defaults=defaults)


def limited_to(*endpoint_ids: str) -> Caller:
    """A caller that may know of these endpoints only."""
    return replace(ADMIN, endpoint_ids=frozenset(endpoint_ids))


def make_call(
    store: Store,
    connection: Connection,
    name: str = "",
    *,
    caller: Caller = ADMIN,
    settings: ServiceSettings = SETTINGS,
    now: float = NOW,
    **parameters: Any,
) -> Call:
    """A call as the dispatcher would make it, inside a transaction of the test's."""
    return Call(parameters, connection, caller, settings, store.vault, now, name)


def invoke(store: Store, name: str, **given: Any) -> dict[str, Any]:
    """Carry out an action and commit; `caller`, `settings` and `now` may be given beside its parameters."""
    return invoke_for_audit(store, name, **given)[0]


def invoke_for_audit(store: Store, name: str, **given: Any) -> tuple[dict[str, Any], Call]:
    """The same, with the call as the audit log sees it afterwards."""
    action = ACTIONS[name]
    transaction = store.write() if action.changes else store.read()
    with transaction as connection:
        call = make_call(store, connection, name, **given)
        reply = action.run(call)
        build_reply(_operation(name), reply, "request")
        return reply, call


@functools.cache
def _operation(name: str) -> OperationModel:
    """What the service models say of an action: a reply that does not fit is a `ReplyError`."""
    (service,) = (service for service in load_services().values() if name in service.operation_names)
    return service.operation_model(name)


@contextmanager
def refused(code: str, sentence: str = "", *, status: int = 400) -> Iterator[Refusal]:
    """What happens inside must be refused with this code, for a reason that holds this text."""
    refusal = Refusal()
    with pytest.raises(ActionError) as caught:
        yield refusal
    refusal.message = caught.value.message
    assert (caught.value.code, caught.value.status) == (code, status)
    assert sentence in refusal.message
    assert refusal.message.endswith((".", "?"))
