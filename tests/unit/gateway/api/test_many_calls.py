"""Many calls at once, and a database that comes and goes: each change happens once, and what was answered is there."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert, select

from gateway.actions import Action, Role
from gateway.store.schema import tag
from tests.lab.postgres import Postgres
from tests.unit.gateway.api.asking import CREATE, IDENTITY, ask_socket, audited, keys_of
from tests.unit.gateway.api.site import ApiSite
from tests.unit.gateway.stores import PostgresSite

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.actions import Call
    from gateway.store import Store


def test_a_thousand_calls_at_once_are_all_answered(site: ApiSite) -> None:
    """Half of them change something: each is carried out once, and those who read do not wait for the others."""

    def call(number: int) -> int:
        return ask_socket(site, CREATE if number % 2 else IDENTITY)[0]

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(call, range(1000))) == {200}
    assert len(keys_of(site)) == 500
    assert [row.outcome for row in audited(site.store)] == ["ok"] * 500


def test_one_token_many_times_at_once_is_one_change(store: Store, tmp_path: Path) -> None:
    done = []

    def run(_: Call) -> dict[str, Any]:
        done.append(threading.get_ident())
        return {"Status": {"Code": "creating"}}

    create = Action("CreateClientVpnRoute", run, changes=True, role=Role.OPERATOR)
    fields = {"ClientVpnEndpointId": "x", "DestinationCidrBlock": "y", "TargetVpcSubnetId": "z", "ClientToken": "t"}
    body = urlencode({"Action": "CreateClientVpnRoute", **fields}).encode()
    with ApiSite(store, tmp_path, {"CreateClientVpnRoute": create}) as site, ThreadPoolExecutor(20) as pool:
        assert {answer[0] for answer in pool.map(lambda _: ask_socket(site, body), range(50))} == {200}
    assert len(done) == 1


@pytest.mark.postgresql
def test_what_was_answered_is_there_although_the_database_dies_in_between(tmp_path: Path) -> None:
    """Each change is refused as one to be tried again, or there; with a token it may be tried until it is."""
    milestones = {20: threading.Event(), 150: threading.Event()}
    begun: list[str] = []

    def run(call: Call) -> dict[str, Any]:
        destination = call.parameters["DestinationCidrBlock"]
        values = {"resource_id": destination, "resource_type": "x", "key": "k", "value": "v"}
        call.connection.execute(insert(tag).values(values))
        begun.append(destination)
        if len(begun) in milestones:
            milestones[len(begun)].set()
        return {"Status": {"Code": "creating"}}

    with Postgres() as server, closing(PostgresSite(server, server.create_database(), tmp_path).open()) as store:
        route = Action("CreateClientVpnRoute", run, changes=True, role=Role.OPERATOR)
        with ApiSite(store, tmp_path, {"CreateClientVpnRoute": route}) as site, ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(insist, site, number) for number in range(300)]
            for milestone in milestones.values():
                assert milestone.wait(60)
                server.stop_immediately()
                server.start()
            statuses = {status for answer in answers for status in answer.result()}
        with store.read() as connection:
            kept = [row.resource_id for row in connection.execute(select(tag))]
    assert statuses == {200, 503}
    assert sorted(kept, key=int) == [str(number) for number in range(300)]


def insist(site: ApiSite, number: int) -> list[int]:
    """Ask until there is an answer, as SDKs do; the statuses of all that came."""
    fields = {"ClientVpnEndpointId": "x", "DestinationCidrBlock": str(number), "ClientToken": str(number)}
    body = urlencode({"Action": "CreateClientVpnRoute", "TargetVpcSubnetId": "y", **fields}).encode()
    statuses = [ask_socket(site, body)[0]]
    while statuses[-1] == 503 and len(statuses) < 200:
        time.sleep(0.1)
        statuses.append(ask_socket(site, body)[0])
    assert statuses[-1] == 200
    return statuses
