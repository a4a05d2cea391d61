"""`portway connection`: the sessions of clients, as the store knows them."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.live import Live

from gateway.cli.objects.service import EndpointOption, Service, command, one_of
from gateway.cli.objects.tables import table_of
from gateway.cli.reporting import fail

__all__ = ["app"]

app = typer.Typer(help="Connections of clients.")

WATCH_S = 2.0

COLUMNS = (
    ("Id", "ConnectionId"),
    ("Name", lambda row: row.get("Username") or row.get("CommonName") or ""),
    ("Status", "Status.Code"),
    ("Inside", "ClientIp"),
    ("Since", "ConnectionEstablishedTime"),
    ("Ended", "ConnectionEndTime"),
    ("In", lambda row: decimal(int(row.get("IngressBytes") or 0))),
    ("Out", lambda row: decimal(int(row.get("EgressBytes") or 0))),
)

ConnectionArgument = Annotated[str | None, typer.Argument(help="The connection's id.")]


@command(app, "list", "portway connection list", "portway connection list --endpoint staff --watch")
def list_connections(
    service: Service,
    endpoint: EndpointOption = None,
    user: Annotated[str | None, typer.Option("--user", help="Only those of this user or certificate name.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing them, until Ctrl-C.")] = False,
) -> None:
    """List the connections of an endpoint, with those that have ended in the last hour."""
    endpoint_id = service.endpoint(endpoint)
    if not watch:
        service.show_list(_all(service, endpoint_id, user), COLUMNS, nothing="No connection.")
        return
    if service.json:
        raise fail("--watch is for people; programs ask again.")
    with Live(console=Console(markup=False, highlight=False), auto_refresh=False) as live:
        while True:
            live.update(table_of(_all(service, endpoint_id, user), COLUMNS), refresh=True)
            time.sleep(WATCH_S)


@command(app, "show", "portway connection show cvpn-connection-3c5bda0d166df6895")
def show(service: Service, connection: ConnectionArgument, endpoint: EndpointOption = None) -> None:
    """Show all about a connection."""
    found = service.list(
        "DescribeClientVpnConnections",
        "Connections",
        ClientVpnEndpointId=service.endpoint(endpoint),
        Filters=[{"Name": "connection-id", "Values": [connection]}],
    )
    service.show(one_of(found, f"connection {connection}"))


@command(
    app,
    "delete",
    "portway connection delete cvpn-connection-3c5bda0d166df6895",
    "portway connection delete --user ana --endpoint staff",
)
def delete(
    service: Service,
    connection: ConnectionArgument = None,
    user: Annotated[str | None, typer.Option("--user", help="All of this user or certificate name.")] = None,
    endpoint: EndpointOption = None,
) -> None:
    """End a connection, or all of a user. Who was cut off may connect again: revoke the certificate to prevent it."""
    if (connection is None) == (user is None):
        raise fail("Say which to end: either a connection's id, or --user.")
    reply = service.call(
        "TerminateClientVpnConnections",
        ClientVpnEndpointId=service.endpoint(endpoint),
        ConnectionId=connection,
        Username=user,
    )
    lines = (f"{one['ConnectionId']} is {one['CurrentStatus']['Code']}." for one in reply["ConnectionStatuses"])
    service.done(reply, "\n".join(lines))


def _all(service: Service, endpoint_id: str, user: str | None) -> list[dict[str, Any]]:
    filters = [{"Name": "username", "Values": [user]}] if user else None
    return service.list("DescribeClientVpnConnections", "Connections", ClientVpnEndpointId=endpoint_id, Filters=filters)
