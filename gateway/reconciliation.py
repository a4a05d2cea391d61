"""Brings a running endpoint from one spec to the next, session by session.

Only sessions that a change concerns notice it: new rights are swapped in place, new settings that clients were told
of make them reconnect, and who is no longer trusted is turned away. What needs new sockets is not done here.

There may be thousands of sessions, and packets wait meanwhile: it goes through them a few at a time. Those that begin
after the first moment begin by the new spec.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from gateway.authorization import Refusal
from gateway.verification import Reverifier
from policy import Aspect
from tunnel import CloseReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.admission import Admitter
    from gateway.authorization import Authorizer
    from gateway.endpoint_settings import Terms
    from gateway.session_keeper import SessionKeeper
    from gateway.sessions import Session
    from policy import EndpointChange
    from tunnel import DataPlane

__all__ = ["reconcile"]

_NEW_FRONT_DOOR = {Aspect.CONTROL_CHANNEL, Aspect.LIMITS}
_NEW_CONNECTION_TERMS = {Aspect.CREDENTIALS, Aspect.TRUST, Aspect.CONTROL_CHANNEL, Aspect.DATA_CHANNEL, Aspect.LIMITS}

RECONNECT = "the gateway's configuration has changed"
SESSIONS_AT_ONCE = 4
"""Then packets get their turn: to verify one certificate anew takes a third of a millisecond."""


async def reconcile(
    change: EndpointChange,
    terms: Terms,
    *,
    keeper: SessionKeeper,
    admitter: Admitter,
    authorizer: Authorizer,
    plane: DataPlane,
) -> None:
    """Apply a change that needs no restart. `terms` are those of the new spec."""
    authorizer.adopt(terms.spec)
    if change.aspects & _NEW_FRONT_DOOR:
        admitter.adopt(terms.front_door)
    if not change.aspects & _NEW_CONNECTION_TERMS:
        terms = replace(terms, config=keeper.terms.config)  # keep what live sessions share
    keeper.adopt(terms)
    sessions = tuple(keeper.sessions)
    if change.aspects & _NEW_CONNECTION_TERMS:
        await _for_each(sessions, keeper.update)
    if change.limits_changed:
        await _for_each(sessions, keeper.limit)
    if change.trust_changed:
        await _look_again(sessions, terms, keeper, authorizer)
    if change.pushed_changed:
        await _for_each(
            keeper.sessions.leased, lambda session: keeper.restart(session, CloseReason.RECONFIGURED, RECONNECT)
        )
    if change.access_changed or change.trust_changed:

        def grant(session: Session) -> None:
            if session.lease is not None:
                plane.set_access(session.lease.peer_id, authorizer.access(session.lease.identity))

        await _for_each(keeper.sessions.leased, grant)


async def _look_again(sessions: Iterable[Session], terms: Terms, keeper: SessionKeeper, authorizer: Authorizer) -> None:
    """Turn away who is no longer trusted, and read names and groups anew; whom a revocation names comes first."""
    reverifier = await trio.to_thread.run_sync(Reverifier, terms.spec.authentication)

    def order(session: Session) -> bool:
        return session.lease is not None and not reverifier.is_suspect(session.lease.identity.serial_number)

    def judge(session: Session) -> None:
        chain = session.connection.certificate_chain()
        if session.lease is None or not chain:  # it may have been verified by what was trusted before
            keeper.abandon(session, CloseReason.RECONFIGURED, RECONNECT)
            return
        fault = reverifier.find_fault(chain)
        if fault is not None:
            keeper.refuse(session, *fault)
            return
        try:
            identity = authorizer.identify(chain[0].to_cryptography())
        except Refusal as refusal:
            keeper.refuse(session, refusal.reason, refusal.text)
        else:
            keeper.sessions.grant(session, replace(session.lease, identity=identity))

    await _for_each(sorted(sessions, key=order), judge)


async def _for_each(sessions: Iterable[Session], act: Callable[[Session], None]) -> None:
    """Do it with each session that has not ended until its turn comes."""
    for count, session in enumerate(sessions, start=1):
        if not session.ended:
            act(session)
        if count % SESSIONS_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
