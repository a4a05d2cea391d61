"""`portway log`: the connection log, as the store keeps it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gateway.cli.objects.moments import MOMENT_FORM, parse_moment
from gateway.cli.objects.service import EndpointOption, Service, command

__all__ = ["app"]

app = typer.Typer(help="The connection log.\n\nWho connected, who failed to and why, and who was cut off.")

COLUMNS = (
    ("Time", "Timestamp"),
    ("Outcome", "Outcome"),
    ("Name", "Username"),
    ("From", "DeviceIp"),
    ("Inside", "ClientIp"),
    ("Reason", lambda row: row.get("FailureReason") or row.get("Reason") or ""),
    ("Connection", "ConnectionId"),
)


@command(
    app,
    "list",
    "portway log list --since 2h --outcome failed",
    "portway log list --user ana --since 2026-11-01 --until 2026-12-01 --json",
)
def list_events(
    service: Service,
    *,
    since: Annotated[str, typer.Option("--since", help=f"From when on: {MOMENT_FORM}.")] = "1d",
    until: Annotated[str | None, typer.Option("--until", help="Until when, written alike.")] = None,
    endpoint: EndpointOption = None,
    user: Annotated[str | None, typer.Option("--user", help="Only of this user or certificate name.")] = None,
    connection: Annotated[str | None, typer.Option("--connection", help="Only of this connection's id.")] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="Only these: successful, failed, ended or lost.")
    ] = None,
) -> None:
    """List what the connection log says, the newest first. With --json, the records as the log's file has them."""
    rows = service.list(
        "DescribeConnectionLog",
        "ConnectionLogRecords",
        StartTime=parse_moment(since),
        EndTime=parse_moment(until),
        ClientVpnEndpointId=service.endpoint(endpoint) if endpoint else None,
        Username=user,
        ConnectionId=connection,
        Outcome=outcome,
    )
    if service.json:
        rows = [json.loads(row["Record"]) for row in rows]
    service.show_list(rows, COLUMNS, nothing="Nothing happened in that time.")
