from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import event, insert, select

import gateway.actions.security_group_rules  # noqa: F401 - registers the actions
from gateway.managed.snapshot import read_snapshot
from gateway.store.schema import certificate, endpoint, security_group, security_group_rule, tag
from gateway.store.statements import AT_ONCE, rows_among
from tests.unit.gateway.actions.harness import invoke
from tests.unit.gateway.actions.rows import add_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.store import Store

MANY = 2 * AT_ONCE + 1
"""Of everything: more than two statements' worth."""


@contextmanager
def sizes_of_statements(store: Store) -> Iterator[list[int]]:
    """How many parameters each statement has."""
    sizes: list[int] = []

    def note(_c: object, _cursor: object, _s: str, parameters: object, _context: object, many: bool) -> None:
        if not many and isinstance(parameters, tuple | dict | list):
            sizes.append(len(parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    yield sizes
    event.remove(store.engine, "before_cursor_execute", note)


def test_rows_among_very_many_values_are_all_found(store: Store) -> None:
    ids = [f"sg-{number:05}" for number in range(MANY)]
    with store.write() as connection:
        connection.execute(
            insert(tag), [{"resource_id": one, "resource_type": "x", "key": "k", "value": "v"} for one in ids]
        )
    with store.read() as connection:
        query = select(tag.c.resource_id).order_by(tag.c.resource_id)
        assert [row[0] for row in rows_among(connection, query, tag.c.resource_id, [*ids, "sg-none"])] == ids
        assert list(rows_among(connection, query, tag.c.resource_id, [])) == []


def test_however_much_there_is_no_list_needs_a_statement_that_a_database_refuses(store: Store) -> None:
    numbers = range(MANY)
    with store.write() as connection:
        connection.execute(
            insert(security_group),
            [
                {"id": f"sg-{n}", "vpc_id": "vpc-1", "name": f"n{n}", "description": "", "created_at": n}
                for n in numbers
            ],
        )
        rule = {
            "is_egress": True,
            "protocol": "-1",
            "from_port": -1,
            "to_port": -1,
            "cidr": "0.0.0.0/0",
            "created_at": 0,
        }
        connection.execute(
            insert(security_group_rule), [{"id": f"sgr-{n}", "group_id": f"sg-{n}", **rule} for n in numbers]
        )
    with sizes_of_statements(store) as sizes:
        assert len(invoke(store, "DescribeSecurityGroupRules")["SecurityGroupRules"]) == 1000
        assert len(invoke(store, "DescribeSecurityGroups")["SecurityGroups"]) == 1000
    assert max(sizes) == AT_ONCE


def test_a_snapshot_of_very_many_endpoints_is_read_whole(store: Store) -> None:
    add_endpoint(store)
    with store.write() as connection:
        like = dict(connection.execute(select(endpoint)).mappings().one())
        own = [
            {
                "id": f"cvpn-endpoint-{number}",
                "client_cidr_block": f"10.{number // 256}.{number % 256}.0/24",
                "server_certificate_arn": f"arn-{number}",
            }
            for number in range(MANY)
        ]
        connection.execute(insert(endpoint), [like | one for one in own])
        certificates = {"origin": "imported", "name": "x", "chain": "", "not_after": 0, "created_at": 0}
        connection.execute(insert(certificate), [certificates | {"arn": f"arn-{number}"} for number in range(MANY)])
    with sizes_of_statements(store) as sizes:
        snapshot = read_snapshot(store, "gw1")
    assert max(sizes) == AT_ONCE
    assert (len(snapshot.endpoints), len(snapshot.certificates)) == (MANY + 1, MANY)
