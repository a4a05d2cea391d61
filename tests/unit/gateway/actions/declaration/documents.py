"""Declarations as tests send them, and a store with networks for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.actions.loading import load_actions
from tests.unit.gateway.actions.harness import invoke
from tests.unit.gateway.actions.rows import add_network

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

load_actions()

Document = dict[str, Any]

OFFICE, LAB = "10.20.0.0/24", "10.30.0.0/24"


def offer_networks(store: Store) -> None:
    """Two networks of the VPC `main`, behind each of which there is more."""
    add_network(store, "subnet-00000000000000001", name="office", cidr=OFFICE, zone="a", next_hop="10.20.0.1")
    add_network(store, "subnet-00000000000000002", name="lab", cidr=LAB, zone="b", next_hop="10.30.0.1")


def endpoint(arns: Arns, **changes: Any) -> Document:
    """An endpoint with one network that one group may reach."""
    declared = {
        "name": "staff",
        "client_cidr_block": "10.90.0.0/22",
        "server_certificate": arns.server,
        "authentication": {"client_root_certificate_chain": arns.root},
        "target_network": [{"name": "office"}],
        "authorization_rule": [{"destination": OFFICE, "group": "engineering"}],
    }
    return {key: value for key, value in (declared | changes).items() if value is not None}


def document(*endpoints: Document, groups: tuple[Document, ...] = ()) -> Document:
    return {"endpoint": list(endpoints), "security_group": list(groups)}


def apply(store: Store, wanted: Document, **more: Any) -> dict[str, Any]:
    return invoke(store, "ApplyConfiguration", Document=json.dumps(wanted), **more)


def plan(store: Store, wanted: Document, **more: Any) -> dict[str, Any]:
    return apply(store, wanted, Plan=True, **more)


def export(store: Store) -> Document:
    found: Document = json.loads(invoke(store, "ExportConfiguration")["Document"])
    return found


def lines(reply: dict[str, Any]) -> list[str]:
    """The lines of a plan, without their values."""
    return [f"{change['Kind']} {change['What']}" for change in reply["Changes"]]


def details(reply: dict[str, Any], what: str) -> dict[str, tuple[str | None, str | None]]:
    """The values of the line about one object, old and new."""
    (change,) = (change for change in reply["Changes"] if change["What"] == what)
    return {detail["Key"]: (detail.get("Old"), detail.get("New")) for detail in change["Details"]}
