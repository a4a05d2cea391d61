"""`portway usage`: hours of associations and of connections, for accounts."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.objects.moments import MOMENT_FORM, parse_moment
from gateway.cli.objects.service import EndpointOption, Service, command
from gateway.cli.reporting import fail

if TYPE_CHECKING:
    from gateway.cli.objects.tables import Column

__all__ = ["app"]

app = typer.Typer(help="Hours of associations and connections.")

WHOM: dict[str, Column] = {
    "endpoint": ("Endpoint", "ClientVpnEndpointId"),
    "user": ("User", "Username"),
    "group": ("Group", "GroupId"),
}
HOURS: tuple[Column, ...] = (
    ("Connections", "Connections"),
    ("Connection-hours", "ConnectionHours"),
    ("Association-hours", "AssociationHours"),
)
CSV_MEMBERS = ("Connections", "ConnectionSeconds", "ConnectionHours", "AssociationSeconds", "AssociationHours")


@command(
    app,
    "list",
    "portway usage list",
    "portway usage list --since 2026-10-01 --until 2026-11-01 --by user --csv > october.csv",
)
def list_usage(
    service: Service,
    *,
    since: Annotated[
        str | None, typer.Option("--since", help=f"From when on: {MOMENT_FORM}. If not given: this month.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Until when, written alike.")] = None,
    by: Annotated[str, typer.Option("--by", help="Sums for each endpoint, user or group.")] = "endpoint",
    endpoint: EndpointOption = None,
    user: Annotated[str | None, typer.Option("--user", help="Only of this user or certificate name.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
) -> None:
    """Sum up the hours of a period. A user of several groups counts in each of them, and once in the total."""
    if by not in WHOM:
        raise fail(f"{by} is nothing to sum up by. Say endpoint, user or group.")
    reply = service.call(
        "GetUsage",
        StartTime=parse_moment(since),
        EndTime=parse_moment(until),
        GroupBy=by,
        ClientVpnEndpointId=service.endpoint(endpoint) if endpoint else None,
        Username=user,
    )
    rows = reply.get("UsageRecords", [])
    if as_csv:
        _print_csv(rows, WHOM[by])
    elif service.json:
        service.show(reply)
    else:
        total = {WHOM[by][1]: "total", **reply.get("Total", {})}
        service.show_list([*rows, total] if rows else [], (WHOM[by], *HOURS), nothing="Nothing was used in that time.")


def _print_csv(rows: list[dict[str, Any]], whom: Column) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow((whom[1], *CSV_MEMBERS))
    for row in rows:
        writer.writerow(row.get(str(member), "") for member in (whom[1], *CSV_MEMBERS))
