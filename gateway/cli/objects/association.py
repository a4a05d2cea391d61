"""`portway association`: which networks an endpoint leads to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.objects.service import EndpointOption, Service, command, one_of
from gateway.cli.reporting import fail

__all__ = ["app"]

app = typer.Typer(help="Which networks an endpoint leads to.")

COLUMNS = (
    ("Id", "AssociationId"),
    ("Network", "NetworkName"),
    ("Status", "Status.Code"),
    ("Security groups", "SecurityGroups"),
    ("Message", "Status.Message"),
)

AssociationArgument = Annotated[str, typer.Argument(help="The association's id.")]


@command(app, "create", "portway association create --endpoint staff --network office")
def create(
    service: Service,
    *,
    network: Annotated[str, typer.Option("--network", help="The network: its name or subnet id.")],
    endpoint: EndpointOption = None,
) -> None:
    """Associate an endpoint with a network. Its route is made as well; who may use it, rules say."""
    reply = service.call(
        "AssociateClientVpnTargetNetwork",
        ClientVpnEndpointId=service.endpoint(endpoint),
        SubnetId=service.network(network),
    )
    service.done(reply, f"{reply['AssociationId']} is {reply['Status']['Code']}.")


@command(app, "list", "portway association list --endpoint staff")
def list_associations(service: Service, endpoint: EndpointOption = None) -> None:
    """List the networks that an endpoint is associated with."""
    rows = _all(service, endpoint)
    if not service.json:
        names = service.network_names()
        rows = [row | {"NetworkName": names.get(row["TargetNetworkId"], row["TargetNetworkId"])} for row in rows]
    service.show_list(rows, COLUMNS, nothing="No association.")


@command(app, "show", "portway association show cvpn-assoc-0123456789abcdef0 --endpoint staff")
def show(service: Service, association: AssociationArgument, endpoint: EndpointOption = None) -> None:
    """Show all about an association."""
    service.show(_find(service, association, endpoint))


@command(app, "modify", "portway association modify cvpn-assoc-0123456789abcdef0 --security-group web")
def modify(
    service: Service,
    *,
    association: AssociationArgument,
    security_group: Annotated[
        list[str],
        typer.Option("--security-group", help="A group that filters from now on: its id or name; may be repeated."),
    ],
    endpoint: EndpointOption = None,
) -> None:
    """Put other security groups in place of those that an endpoint has in the association's VPC."""
    found = _find(service, association, endpoint)
    reply = service.call(
        "ApplySecurityGroupsToClientVpnTargetNetwork",
        ClientVpnEndpointId=found["ClientVpnEndpointId"],
        VpcId=found["VpcId"],
        SecurityGroupIds=[service.security_group(group, found["VpcId"])["GroupId"] for group in security_group],
    )
    service.done(reply, f"{found['ClientVpnEndpointId']} has the groups {', '.join(reply['SecurityGroupIds'])}.")


@command(app, "delete", "portway association delete cvpn-assoc-0123456789abcdef0 --endpoint staff")
def delete(service: Service, association: AssociationArgument, endpoint: EndpointOption = None) -> None:
    """End an association, and with it its routes. With the last one, the endpoint's sessions end."""
    reply = service.call(
        "DisassociateClientVpnTargetNetwork", ClientVpnEndpointId=service.endpoint(endpoint), AssociationId=association
    )
    service.done(reply, f"{reply['AssociationId']} is {reply['Status']['Code']}.")


def _all(service: Service, endpoint: str | None) -> list[dict[str, Any]]:
    return service.list(
        "DescribeClientVpnTargetNetworks",
        "ClientVpnTargetNetworks",
        ClientVpnEndpointId=service.endpoint(endpoint),
    )


def _find(service: Service, association: str, endpoint: str | None) -> dict[str, Any]:
    if not association.startswith("cvpn-assoc-"):
        raise fail(f"{association} is no association's id: those begin with cvpn-assoc-.")
    found = [one for one in _all(service, endpoint) if one["AssociationId"] == association]
    return one_of(found, f"association {association}")
