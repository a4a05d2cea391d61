"""Brings a running endpoint from one spec to the next, session by session.

Only sessions that a change concerns notice it: new rights are swapped in place, new settings that clients were told
of make them reconnect, and who is no longer trusted is turned away. What needs new sockets is not done here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.authorization import Refusal
from gateway.verification import Reverifier
from policy import Aspect
from tunnel import CloseReason

if TYPE_CHECKING:
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


def reconcile(
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
        admitter.adopt(terms.front_door, terms.spec.handshake)
    if not change.aspects & _NEW_CONNECTION_TERMS:
        terms = replace(terms, config=keeper.terms.config)  # keep what live sessions share
    keeper.adopt(terms)
    if change.trust_changed:
        _look_again(terms, keeper, authorizer)
    if change.pushed_changed:
        for session in keeper.sessions.leased:
            keeper.restart(session, CloseReason.RECONFIGURED, RECONNECT)
    if change.access_changed or change.trust_changed:
        for session in keeper.sessions.leased:
            if session.lease:
                plane.set_access(session.lease.peer_id, authorizer.access(session.lease.identity))


def _look_again(terms: Terms, keeper: SessionKeeper, authorizer: Authorizer) -> None:
    """Turn away who is no longer trusted, and read names and groups anew."""
    reverifier = Reverifier(terms.spec.authentication)
    for session in keeper.sessions:
        if session.lease is not None:
            _judge(session, reverifier, keeper, authorizer)
        elif not session.ended:  # its certificate may have been verified by what was trusted before
            keeper.abandon(session, CloseReason.RECONFIGURED, RECONNECT)


def _judge(session: Session, reverifier: Reverifier, keeper: SessionKeeper, authorizer: Authorizer) -> None:
    if session.lease is None:
        return
    chain = session.lease.certificate_chain
    fault = reverifier.find_fault(chain)
    if fault is not None:
        keeper.refuse(session, *fault)
        return
    try:
        identity = authorizer.identify(chain)
    except Refusal as refusal:
        keeper.refuse(session, refusal.reason, refusal.text)
    else:
        keeper.sessions.grant(session, replace(session.lease, identity=identity))
