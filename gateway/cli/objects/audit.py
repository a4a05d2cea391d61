"""`portway audit`: who changed what, when, and from where."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.objects.moments import MOMENT_FORM, parse_moment
from gateway.cli.objects.service import Service, command, one_of

__all__ = ["app"]

app = typer.Typer(help="Who changed what, and when.")

COLUMNS = (
    ("Time", "EventTime"),
    ("Event", "EventId"),
    ("Caller", "CallerId"),
    ("From", lambda row: row.get("SourceIp") or row.get("Face") or ""),
    ("Action", "ActionName"),
    ("Resource", "ResourceId"),
    ("Outcome", "Outcome"),
)


@command(app, "list", "portway audit list --since 7d", "portway audit list --resource cvpn-endpoint-0123456789abcdef0")
def list_events(
    service: Service,
    *,
    since: Annotated[str, typer.Option("--since", help=f"From when on: {MOMENT_FORM}.")] = "1d",
    until: Annotated[str | None, typer.Option("--until", help="Until when, written alike.")] = None,
    caller: Annotated[str | None, typer.Option("--caller", help="Only of this access key, or socket:UID.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this, as CreateClientVpnRoute.")] = None,
    resource: Annotated[str | None, typer.Option("--resource", help="Only about this id.")] = None,
) -> None:
    """List changes that were asked for, refused ones included, the newest first."""
    rows = service.list(
        "DescribeAuditEvents",
        "AuditEvents",
        StartTime=parse_moment(since),
        EndTime=parse_moment(until),
        CallerId=caller,
        ActionName=action,
        ResourceId=resource,
    )
    service.show_list(rows, COLUMNS, nothing="Nothing was changed in that time.")


@command(app, "show", "portway audit show 42")
def show(
    service: Service,
    *,
    event: Annotated[str, typer.Argument(help="The event, as `list` has it.")],
    since: Annotated[str, typer.Option("--since", help="How far back to look.")] = "400d",
) -> None:
    """Show all about a change: its parameters, and the object before and after."""
    rows = service.list("DescribeAuditEvents", "AuditEvents", StartTime=parse_moment(since))
    service.show(one_of([row for row in rows if row["EventId"] == event], f"event {event}"))
