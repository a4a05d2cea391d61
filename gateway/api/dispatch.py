"""Carries out one call: what is the same for every action.

    known? ▶ role ▶ parameters ▶ endpoints ▶ DryRun ▶ transaction ( said before? ▶ action ▶ audit ▶ XML ) ▶ reply

What a change leaves behind besides, the reply to its token, its signature and its line in the audit log, is written in
its own transaction; when it fails, nothing is, but a line that says so, unless its caller has had too many of them. The
reply is built before the transaction ends: what cannot be said is not done. Blocks: runs in threads. Must not
know HTTP.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import insert
from sqlalchemy.exc import DataError, IntegrityError

from gateway.actions import ActionError, Call
from gateway.api import audit_trail, repetition
from gateway.api.parsing import parse_parameters_untrusted
from gateway.api.permissions import check_endpoints, check_role
from gateway.api.refusals import OMITTED, Refusals
from gateway.api.serializing import build_reply
from gateway.api.unsupported import explain_unsupported
from gateway.store import StoreError
from gateway.store.schema import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.model import OperationModel, ServiceModel
    from sqlalchemy import Connection

    from gateway.actions import Action, Caller, ServiceSettings
    from gateway.store import Store

__all__ = ["Dispatcher", "Request"]

logger = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Request:
    """A call of somebody who is known, as it came."""

    service: ServiceModel
    action: str
    fields: Mapping[str, str]
    caller: Caller
    request_id: str
    signature: str = ""
    """Empty where the request is not signed, and nobody could say it again."""
    signature_expires_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Job:
    """A call that is permitted and well-formed."""

    request: Request
    action: Action
    operation: OperationModel
    parameters: Mapping[str, Any]
    token: repetition.Token | None
    entry: audit_trail.Entry


class Dispatcher:
    """Finds actions and carries them out, in the transactions that they need."""

    def __init__(
        self,
        store: Store,
        settings: ServiceSettings,
        actions: Mapping[str, Action],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        """May be replaced at any time."""
        self._store = store
        self._actions = actions
        self._clock = clock
        self._refusals = Refusals()

    def changes(self, action: str) -> bool:
        """Whether an action, by whatever name a stranger gives, has to wait for others that write."""
        known = self._actions.get(action)
        return known is not None and known.changes

    def carry_out(self, request: Request) -> bytes:
        """Carry out a call and return the reply. Raises `ActionError` for all that callers can do something about."""
        action = self._find(request)
        entry = audit_trail.Entry(self._clock(), request.request_id, request.caller, action.name)
        if not action.changes:
            return self._read(self._prepare(request, action, entry))
        try:
            return self._change(self._prepare(request, action, entry))
        except ActionError as error:
            if error.code != "DryRunOperation":
                self._record_failure(entry, error.code)
            raise
        except StoreError:
            raise  # nothing could be recorded either
        except Exception:
            self._record_failure(entry, "InternalError")
            raise

    def _find(self, request: Request) -> Action:
        if request.action not in request.service.operation_names:
            known = f"The action {request.action[:80]} is not valid for this web service."
            raise ActionError("InvalidAction", known)
        action = self._actions.get(request.action)
        if action is None:
            raise ActionError("UnsupportedOperation", explain_unsupported(request.action))
        return action

    def _prepare(self, request: Request, action: Action, entry: audit_trail.Entry) -> _Job:
        check_role(request.caller, action)
        operation = request.service.operation_model(action.name)
        parameters = parse_parameters_untrusted(request.fields, operation)
        is_dry_run = parameters.pop("DryRun", False)
        entry.parameters = audit_trail.for_the_record(parameters, operation.input_shape)
        check_endpoints(request.caller, action, parameters)
        token = repetition.take_token(request.caller.id, action.name, parameters)
        if is_dry_run:
            sentence = "Request would have succeeded, but DryRun flag is set."
            raise ActionError("DryRunOperation", sentence, 412)
        return _Job(request, action, operation, parameters, token, entry)

    def _read(self, job: _Job) -> bytes:
        with self._store.read() as connection:
            return build_reply(job.operation, job.action.run(self._call(job, connection)), job.request.request_id)

    def _change(self, job: _Job) -> bytes:
        try:
            with self._store.write(affects_gateways=False) as connection:
                return self._change_once(job, connection)
        except IntegrityError as error:
            logger.warning("a change met another one", action=job.action.name, error=str(error.orig))
            sentence = "This contradicts something that is there already. Look again, and try again."
            raise ActionError("IncorrectState", sentence) from error
        except DataError as error:
            logger.warning("a value cannot be stored", action=job.action.name, error=str(error.orig))
            raise ActionError("InvalidParameterValue", "A value is too long, or out of range.") from error

    def _change_once(self, job: _Job, connection: Connection) -> bytes:
        request_id, now = job.request.request_id, job.entry.at
        repetition.forget_old(connection, now)
        signature, expires_at = job.request.signature, job.request.signature_expires_at
        is_fresh = not signature or repetition.take_signature(connection, signature, expires_at)
        said = repetition.find_reply(connection, job.token) if job.token is not None else None
        if said is not None:
            return build_reply(job.operation, said, request_id)
        if not is_fresh:
            raise repetition.refuse_repetition()
        call = self._call(job, connection)
        reply = job.action.run(call)
        if job.token is not None:
            repetition.keep_reply(connection, job.token, reply, now)
        audit_trail.write_entry(connection, job.entry, audit_trail.OK, call)
        if call.affects_gateways:
            self._store.mark_changed(connection)
        return build_reply(job.operation, reply, request_id)

    def _call(self, job: _Job, connection: Connection) -> Call:
        return Call(
            parameters=job.parameters,
            connection=connection,
            caller=job.request.caller,
            settings=self.settings,
            vault=self._store.vault,
            now=job.entry.at,
            action=job.action.name,
        )

    def write_omitted(self, *, at_end: bool = False) -> None:
        """Record how many refused changes were left out of the audit log; every minute, and when the process ends."""
        summaries = self._refusals.take_summaries(math.inf if at_end else self._clock())
        self._write([row for entry in summaries for row in audit_trail.rows_of(entry, OMITTED)])

    def _record_failure(self, entry: audit_trail.Entry, code: str) -> None:
        rows = audit_trail.rows_of(entry, code)
        self._write(rows[: self._refusals.admit(entry, len(rows))])

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        try:
            with self._store.write(affects_gateways=False) as connection:
                connection.execute(insert(audit), rows)
        except (StoreError, DataError) as error:
            logger.warning("refused changes could not be recorded", request_id=rows[0]["request_id"], error=str(error))
