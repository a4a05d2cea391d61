"""`portway endpoint`: endpoints that are made, changed and deleted while the gateway runs."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Any

import typer

from gateway.cli.files import write_new
from gateway.cli.objects.service import Service, command, name_of, one_of
from gateway.cli.reporting import fail, say
from policy import DEFAULT_LOG_GROUP

__all__ = ["app"]

app = typer.Typer(help="Endpoints: what clients connect to.")

COLUMNS = (
    ("Id", "ClientVpnEndpointId"),
    ("Name", name_of),
    ("Status", "Status.Code"),
    ("Clients", "ClientCidrBlock"),
    ("Port", lambda row: f"{row.get('VpnPort')}/{row.get('TransportProtocol')}"),
    ("Split tunnel", "SplitTunnel"),
    ("Description", "Description"),
)

EndpointArgument = Annotated[
    str | None, typer.Argument(help="The endpoint: its id or name. Needed where there are several.")
]
DescriptionOption = Annotated[str | None, typer.Option("--description", help="For people.")]
ServerCertificateOption = Annotated[
    str, typer.Option("--server-certificate", help="The gateway's certificate: its name or ARN.")
]
ClientRootOption = Annotated[
    str, typer.Option("--client-root", help="The authority that clients' certificates come from: its name or ARN.")
]
TransportOption = Annotated[str, typer.Option("--transport", help="Over what clients come: udp or tcp.")]
PortOption = Annotated[int | None, typer.Option("--port", help="The port that clients come to; 443 if not given.")]
SplitTunnelOption = Annotated[
    bool | None,
    typer.Option(
        "--split-tunnel/--full-tunnel", help="Whether clients send only the destinations of routes, or everything."
    ),
]
DnsOption = Annotated[list[str] | None, typer.Option("--dns", help="A DNS server for clients; may be repeated.")]
HoursOption = Annotated[int | None, typer.Option("--session-hours", help="How long a session may last.")]
DisconnectOption = Annotated[
    bool | None,
    typer.Option(
        "--disconnect-on-timeout/--reconnect-on-timeout",
        help="Whether users log in again after that, or clients reconnect by themselves.",
    ),
]
BannerOption = Annotated[
    str | None, typer.Option("--banner", help="A text for users who have just connected; '' for none.")
]
EnforceRoutesOption = Annotated[
    bool | None,
    typer.Option(
        "--enforce-routes/--no-enforce-routes",
        help="Whether clients with a full tunnel leave their own local networks alone.",
    ),
]
LogGroupOption = Annotated[
    str | None,
    typer.Option(
        "--log-group", help="Where the records of its connections go: default, or a [[log_group]]; '' for nowhere."
    ),
]
LogStreamOption = Annotated[
    str | None, typer.Option("--log-stream", help="What they are marked with there; the endpoint's id if not given.")
]


@command(
    app,
    "create",
    "portway endpoint create --client-cidr-block 10.90.0.0/22 --server-certificate server --client-root 'Portway CA'",
)
def create(
    service: Service,
    *,
    client_cidr_block: Annotated[
        str, typer.Option("--client-cidr-block", help="The range that clients get their addresses from.")
    ],
    server_certificate: ServerCertificateOption,
    client_root: ClientRootOption,
    name: Annotated[str | None, typer.Option("--name", help="What commands may call it: its tag Name.")] = None,
    description: DescriptionOption = None,
    transport: TransportOption = "udp",
    port: PortOption = None,
    split_tunnel: SplitTunnelOption = True,
    dns: DnsOption = None,
    session_hours: HoursOption = None,
    disconnect_on_timeout: DisconnectOption = None,
    banner: BannerOption = None,
    enforce_routes: EnforceRoutesOption = None,
    log_group: LogGroupOption = DEFAULT_LOG_GROUP,
    log_stream: LogStreamOption = None,
) -> None:
    """Make an endpoint. Clients can connect once it is associated with a network.

    Certificates are those of `portway certificate list`: the authority and the servers of `portway pki` are there by
    themselves.
    """
    mutual = {"ClientRootCertificateChainArn": service.certificate(client_root, "authority")}
    tags = [{"ResourceType": "client-vpn-endpoint", "Tags": [{"Key": "Name", "Value": name}]}] if name else None
    reply = service.call(
        "CreateClientVpnEndpoint",
        ClientCidrBlock=client_cidr_block,
        ServerCertificateArn=service.certificate(server_certificate, "server"),
        AuthenticationOptions=[{"Type": "certificate-authentication", "MutualAuthentication": mutual}],
        ConnectionLogOptions=_log_options(log_group, log_stream),
        Description=description,
        TransportProtocol=transport,
        VpnPort=port,
        SplitTunnel=split_tunnel,
        DnsServers=dns or None,
        SessionTimeoutHours=session_hours,
        DisconnectOnSessionTimeout=disconnect_on_timeout,
        ClientLoginBannerOptions=_banner_options(banner),
        ClientRouteEnforcementOptions=_enforcement_options(enforce_routes),
        TagSpecifications=tags,
    )
    service.done(reply, f"{reply['ClientVpnEndpointId']} is made. Associate it with a network next.")


@command(app, "list", "portway endpoint list", "portway endpoint list --json | jq -r '.[].ClientVpnEndpointId'")
def list_endpoints(service: Service) -> None:
    """List the endpoints, those of the configuration file included."""
    service.show_list(service.list("DescribeClientVpnEndpoints", "ClientVpnEndpoints"), COLUMNS, nothing="No endpoint.")


@command(app, "show", "portway endpoint show staff")
def show(service: Service, endpoint: EndpointArgument = None) -> None:
    """Show all about an endpoint."""
    found = service.list(
        "DescribeClientVpnEndpoints", "ClientVpnEndpoints", ClientVpnEndpointIds=[service.endpoint(endpoint)]
    )
    service.show(one_of(found, "endpoint"))


@command(
    app, "modify", "portway endpoint modify staff --full-tunnel --dns 10.20.0.53", "portway endpoint modify --no-dns"
)
def modify(
    service: Service,
    *,
    endpoint: EndpointArgument = None,
    server_certificate: Annotated[
        str | None, typer.Option("--server-certificate", help="Another certificate: its name or ARN.")
    ] = None,
    description: DescriptionOption = None,
    port: PortOption = None,
    split_tunnel: SplitTunnelOption = None,
    dns: DnsOption = None,
    no_dns: Annotated[bool, typer.Option("--no-dns", help="Leave clients their own DNS servers.")] = False,
    session_hours: HoursOption = None,
    disconnect_on_timeout: DisconnectOption = None,
    banner: BannerOption = None,
    enforce_routes: EnforceRoutesOption = None,
    log_group: LogGroupOption = None,
    log_stream: LogStreamOption = None,
) -> None:
    """Change an endpoint. What is not named stays; sessions that the change does not concern go on."""
    if dns and no_dns:
        raise fail("Say --dns or --no-dns, not both.")
    servers: dict[str, Any] | None = {"CustomDnsServers": dns, "Enabled": True} if dns else None
    changes = {
        "ServerCertificateArn": service.certificate(server_certificate, "server") if server_certificate else None,
        "Description": description,
        "VpnPort": port,
        "SplitTunnel": split_tunnel,
        "DnsServers": {"Enabled": False} if no_dns else servers,
        "SessionTimeoutHours": session_hours,
        "DisconnectOnSessionTimeout": disconnect_on_timeout,
        "ClientLoginBannerOptions": _banner_options(banner),
        "ClientRouteEnforcementOptions": _enforcement_options(enforce_routes),
        "ConnectionLogOptions": _log_options(log_group, log_stream),
    }
    if all(value is None for value in changes.values()):
        raise fail("Say what to change: see `portway endpoint modify --help`.")
    endpoint_id = service.endpoint(endpoint)
    reply = service.call("ModifyClientVpnEndpoint", ClientVpnEndpointId=endpoint_id, **changes)
    service.done(reply, f"{endpoint_id} is changed.")


@command(app, "delete", "portway endpoint delete staff")
def delete(service: Service, endpoint: EndpointArgument) -> None:
    """Delete an endpoint, whose associations have to be gone."""
    endpoint_id = service.endpoint(endpoint)
    reply = service.call("DeleteClientVpnEndpoint", ClientVpnEndpointId=endpoint_id)
    service.done(reply, f"{endpoint_id} is being deleted.")


@command(app, "export", "portway endpoint export staff --output staff.ovpn")
def export(
    service: Service,
    endpoint: EndpointArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", readable=False, help="A file to write, which must not exist.")
    ] = None,
) -> None:
    """Print the profile that clients of an endpoint begin with.

    It has everything but the client's own certificate and key, which belong at its end as <cert> and <key>.
    """
    endpoint_id = service.endpoint(endpoint)
    reply = service.call("ExportClientVpnClientConfiguration", ClientVpnEndpointId=endpoint_id)
    if output is None:
        service.done(reply, reply["ClientConfiguration"].rstrip("\n"))
        return
    write_new(output, reply["ClientConfiguration"])
    say(f"The profile is in {output}.")


def _log_options(log_group: str | None, log_stream: str | None) -> dict[str, Any] | None:
    if log_group is None:
        if log_stream is not None:
            raise fail("Say --log-group with --log-stream: they are changed together.")
        return None
    if not log_group:
        return {"Enabled": False}
    return {"Enabled": True, "CloudwatchLogGroup": log_group} | (
        {"CloudwatchLogStream": log_stream} if log_stream else {}
    )


def _banner_options(banner: str | None) -> dict[str, Any] | None:
    if banner is None:
        return None
    return {"Enabled": True, "BannerText": banner} if banner else {"Enabled": False}


def _enforcement_options(enforce_routes: bool | None) -> dict[str, bool] | None:
    return None if enforce_routes is None else {"Enforced": enforce_routes}
