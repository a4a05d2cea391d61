"""`portway network`: the networks that this host offers to endpoints. AWS calls them subnets."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.objects.service import Service, command, name_of, one_of

__all__ = ["app"]

app = typer.Typer(
    help="Networks that endpoints may lead to.\n\nEach is a [[network]] of config.toml. AWS calls them subnets."
)

COLUMNS = (
    ("Id", "SubnetId"),
    ("Name", name_of),
    ("Network", "CidrBlock"),
    ("Zone", "AvailabilityZone"),
    ("VPC", "VpcId"),
    ("State", "State"),
)


@command(app, "list", "portway network list")
def list_networks(service: Service) -> None:
    """List the networks."""
    service.show_list(
        service.list("DescribeSubnets", "Subnets"),
        COLUMNS,
        nothing="No network. Declare one as [[network]] in config.toml, and run `portway reload`.",
    )


@command(app, "show", "portway network show office")
def show(service: Service, network: Annotated[str, typer.Argument(help="The network: its name or subnet id.")]) -> None:
    """Show all about a network."""
    found = service.list("DescribeSubnets", "Subnets", SubnetIds=[service.network(network)])
    service.show(one_of(found, f"network {network}"))
