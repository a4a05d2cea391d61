"""`portway route`: where an endpoint's traffic goes."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.objects.service import EndpointOption, Service, command, one_of

__all__ = ["app"]

app = typer.Typer(help="Where an endpoint's traffic goes.\n\nA rule has to allow what a route leads to.")

COLUMNS = (
    ("Destination", "DestinationCidr"),
    ("Network", "NetworkName"),
    ("Origin", "Origin"),
    ("Status", "Status.Code"),
    ("Description", "Description"),
    ("Message", "Status.Message"),
)

DestinationOption = Annotated[
    str, typer.Option("--destination", help="The network, as 10.30.0.0/16; 0.0.0.0/0 for the rest of the world.")
]
NetworkOption = Annotated[
    str,
    typer.Option("--network", help="The associated network that it goes through: name or subnet id; or local."),
]


@command(app, "create", "portway route create --endpoint staff --destination 10.30.0.0/16 --network office")
def create(
    service: Service,
    *,
    destination: DestinationOption,
    network: NetworkOption,
    endpoint: EndpointOption = None,
    description: Annotated[str | None, typer.Option("--description", help="For people.")] = None,
) -> None:
    """Lead a destination through an associated network; or, with `local`, from client to client."""
    reply = service.call(
        "CreateClientVpnRoute",
        ClientVpnEndpointId=service.endpoint(endpoint),
        DestinationCidrBlock=destination,
        TargetVpcSubnetId=service.network(network),
        Description=description,
    )
    service.done(reply, f"The route to {destination} is {reply['Status']['Code']}.")


@command(app, "list", "portway route list --endpoint staff")
def list_routes(service: Service, endpoint: EndpointOption = None) -> None:
    """List the routes of an endpoint."""
    rows = service.list("DescribeClientVpnRoutes", "Routes", ClientVpnEndpointId=service.endpoint(endpoint))
    if not service.json:
        names = service.network_names()
        rows = [row | {"NetworkName": names.get(row["TargetSubnet"], row["TargetSubnet"])} for row in rows]
    service.show_list(rows, COLUMNS, nothing="No route.")


@command(app, "show", "portway route show --destination 10.30.0.0/16 --network office")
def show(
    service: Service, destination: DestinationOption, network: NetworkOption, endpoint: EndpointOption = None
) -> None:
    """Show all about a route."""
    filters = [
        {"Name": "destination-cidr", "Values": [destination]},
        {"Name": "target-subnet", "Values": [service.network(network)]},
    ]
    found = service.list(
        "DescribeClientVpnRoutes", "Routes", ClientVpnEndpointId=service.endpoint(endpoint), Filters=filters
    )
    service.show(one_of(found, f"route to {destination} through {network}"))


@command(app, "delete", "portway route delete --destination 10.30.0.0/16 --network office")
def delete(
    service: Service, destination: DestinationOption, network: NetworkOption, endpoint: EndpointOption = None
) -> None:
    """Delete a route that was made by hand. The one of an association goes with it."""
    reply = service.call(
        "DeleteClientVpnRoute",
        ClientVpnEndpointId=service.endpoint(endpoint),
        DestinationCidrBlock=destination,
        TargetVpcSubnetId=service.network(network),
    )
    service.done(reply, f"The route to {destination} is {reply['Status']['Code']}.")
