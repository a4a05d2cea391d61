"""What the requests on the control socket mean.

    status                                                        the daemon and its endpoints, and what is wrong
    metrics                                                       the same, with everything that is counted
    connections                                                   the sessions of authorised clients
    terminate   id | user                                         end one session, or all of a certificate name
    explain     id | groups [endpoint], destination [port] [protocol]
    reload                                                        read the configuration again

A request with an unknown or ill-typed key is refused: a misspelt `terminate` must not mean something else.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from ipaddress import IPv4Address  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.control_socket import ControlError
from gateway.fleet import FleetError
from gateway.health import conditions
from gateway.object_ids import endpoint_id
from gateway.reload import ConfigRefused
from gateway.status import describe_connection_log, describe_endpoint, describe_measures, describe_session
from policy import explain, render_explanation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.connection_log import ConnectionLog
    from gateway.endpoint import Endpoint
    from gateway.fleet import Fleet
    from gateway.sessions import Session
    from policy import Explanation

__all__ = ["ControlRequests", "explanation_document"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Status(_Request):
    request: Literal["status"]


class _Metrics(_Request):
    request: Literal["metrics"]


class _Connections(_Request):
    request: Literal["connections"]


class _Reload(_Request):
    request: Literal["reload"]


class _Terminate(_Request):
    request: Literal["terminate"]
    id: str | None = None
    user: str | None = None


class _Explain(_Request):
    request: Literal["explain"]
    id: str | None = None
    groups: tuple[str, ...] | None = None
    endpoint: str | None = None
    destination: IPv4Address
    port: int | None = Field(default=None, ge=0, le=65535)
    protocol: str | None = Field(default=None, max_length=16)


_Any = _Status | _Metrics | _Connections | _Reload | _Terminate | _Explain
_REQUESTS: TypeAdapter[_Any] = TypeAdapter(Annotated[_Any, Field(discriminator="request")])


class ControlRequests:
    """Answers requests about a fleet."""

    def __init__(
        self,
        fleet: Fleet,
        connection_log: ConnectionLog,
        reload: Callable[[], Awaitable[tuple[str, ...]]],
        facts: Callable[[], Mapping[str, Any]],
    ) -> None:
        """`facts` are what the daemon itself adds to its status."""
        self._fleet = fleet
        self._connection_log = connection_log
        self._reload = reload
        self._facts = facts

    async def handle(self, request: Mapping[str, Any]) -> Any:
        """Do what the request says, and give what JSON can hold. Raises `ControlError`."""
        match _parse(request):
            case _Status():
                return self._status()
            case _Metrics():
                return self._metrics()
            case _Connections():
                return self._connections()
            case _Terminate(id=connection_id, user=user):
                return self._terminate(connection_id, user)
            case _Explain() as question:
                return self._explain(question)
            case _Reload():
                return await self._do_reload()

    def _status(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        status = {
            **self._facts(),
            "endpoints": [describe_endpoint(endpoint, now) for endpoint in self._fleet.endpoints],
            "down": dict(self._fleet.down),
            "connection_log": describe_connection_log(self._connection_log),
            "log_groups": list(self._connection_log.groups),
        }
        return status | {"health": [condition.as_json() for condition in conditions(status)]}

    def _metrics(self) -> dict[str, Any]:
        measures = {endpoint.spec.name: describe_measures(endpoint) for endpoint in self._fleet.endpoints}
        now = {"at": datetime.now(UTC).isoformat(), "cpu_s": time.process_time()}
        return {**self._status(), **now, "measures": measures}

    def _connections(self) -> list[dict[str, Any]]:
        now = time.time()
        return [
            describe_session(endpoint, session, now)
            for endpoint in self._fleet.endpoints
            for session in endpoint.sessions.leased
        ]

    def _terminate(self, connection_id: str | None, user: str | None) -> list[str]:
        """End what matches, and give the connection ids."""
        if (connection_id is None) == (user is None):
            raise ControlError("Say which session to end: either its id or its user.")
        found = [
            (endpoint, session)
            for endpoint in self._fleet.endpoints
            for session in endpoint.sessions.leased
            if session.connection_id == connection_id or (session.identity and session.identity.common_name == user)
        ]
        if not found:
            raise ControlError(f"There is no session {connection_id}." if user is None else f"{user} has no session.")
        for endpoint, session in found:
            endpoint.terminate(session)
        return [session.connection_id for _, session in found]

    def _explain(self, question: _Explain) -> dict[str, Any]:
        if (question.id is None) == (question.groups is None):
            raise ControlError("Say whose packet it is: either a session's id or groups.")
        if question.id is not None:
            endpoint, session = self._session(question.id)
            groups = session.identity.groups if session.identity else ()
            source = session.address
        else:
            endpoint, groups, source = self._endpoint(question.endpoint), question.groups or (), None
        explanation = explain(
            endpoint.spec,
            frozenset(groups),
            question.destination,
            question.port,
            question.protocol,
            source=source,
        )
        return explanation_document(explanation)

    async def _do_reload(self) -> list[str]:
        try:
            return list(await self._reload())
        except (ConfigRefused, FleetError) as error:
            raise ControlError(str(error)) from error

    def _session(self, connection_id: str) -> tuple[Endpoint, Session]:
        for endpoint in self._fleet.endpoints:
            session = endpoint.sessions.of_id(connection_id)
            if session is not None:
                return endpoint, session
        raise ControlError(f"There is no session {connection_id}.")

    def _endpoint(self, name: str | None) -> Endpoint:
        found = self._fleet.endpoints
        endpoints = [one for one in found if name in (None, one.spec.name, endpoint_id(one.spec.name))]
        if len(endpoints) == 1:
            return endpoints[0]
        if not self._fleet.endpoints:
            raise ControlError("No endpoint runs.")
        names = ", ".join(endpoint.spec.name for endpoint in self._fleet.endpoints)
        missing = f'There is no endpoint "{name}". ' if name else ""
        raise ControlError(f"{missing}Say with --endpoint which one is meant: {names}.")


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON can hold it; `text` is what people read."""
    return {
        "endpoint": explanation.endpoint,
        "destination": str(explanation.destination),
        "allowed": explanation.allowed,
        "verdict": explanation.verdict.name.lower(),
        "text": render_explanation(explanation),
    }


def _parse(request: Mapping[str, Any]) -> _Any:
    try:
        return _REQUESTS.validate_json(json.dumps(request))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ControlError(f"the request is not understood: {place or 'request'}: {first['msg']}") from error
