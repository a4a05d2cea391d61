from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from gateway.fleet import FleetError
from gateway.hostnet import HostProblem
from gateway.object_ids import endpoint_id, subnet_id, vpc_id
from gateway.profile import build_profile, find_server_authority
from gateway.store import schema
from policy import ControlChannelProtection
from tests.unit.gateway.actions.harness import invoke, refused
from tests.unit.gateway.managed.world import LAB, OFFICE, OFFICE_ID, managed_world
from tests.unit.gateway.test_reload import main, other

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store

MAIN_ID = endpoint_id("main")


def accepting(*protections: str) -> dict[str, Any]:
    keys: dict[str, Any] = main()["control_channel"]
    return keys | {"accept": list(protections)}


async def test_an_endpoint_of_the_file_is_shown_as_it_is(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main()) as world:
        (row,) = world.rows(schema.endpoint)
        assert (row.id, row.name, row.origin) == (MAIN_ID, "main", "file")
        assert (row.status_code, row.declared_in) == ("available", f"{tmp_path / 'config.toml'} on lab")
        assert (row.client_cidr_block, row.vpn_port, row.transport_protocols) == ("10.80.0.0/22", 443, ["udp", "tcp"])
        (association,) = world.rows(schema.association)
        assert (association.subnet_id, association.status_code) == (subnet_id("main/office"), "associated")
        (route,) = world.rows(schema.route)
        assert (route.destination_cidr, route.association_id, route.status_code) == (
            "10.20.0.0/24",
            association.id,
            "active",
        )
        (rule,) = world.rows(schema.authorization_rule)
        assert (rule.destination_cidr, rule.group_id, rule.status_code) == ("10.20.0.0/24", "engineering", "active")
        assert [crl.status_code for crl in world.rows(schema.crl)] == ["active"]
        arns = {certificate.arn for certificate in world.rows(schema.certificate)}
        assert row.server_certificate_arn in arns


async def test_what_is_for_its_clients_and_its_log_is_shown(tmp_path: Path, store: Store) -> None:
    said = main(
        disconnect_on_session_timeout=False,
        login_banner="For work only.",
        client_route_enforcement=True,
        connection_log={"stream": "staff"},
    )
    async with managed_world(tmp_path, store, said, other(connection_log={"enabled": False})) as world:
        shown = {
            one["ClientVpnEndpointId"]: one for one in world.call("DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
        }
        one = shown[MAIN_ID]
        assert one["DisconnectOnSessionTimeout"] is False
        assert one["ClientLoginBannerOptions"] == {"Enabled": True, "BannerText": "For work only."}
        assert one["ClientRouteEnforcementOptions"] == {"Enforced": True}
        log = one["ConnectionLogOptions"]
        assert (log["Enabled"], log["CloudwatchLogGroup"], log["CloudwatchLogStream"]) == (True, "default", "staff")
        assert shown[endpoint_id("other")]["ConnectionLogOptions"]["Enabled"] is False


async def test_it_cannot_be_changed_there(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main()) as world:
        with refused("UnsupportedOperation", "portway reload"):
            world.modify(MAIN_ID, VpnPort=1194)


@pytest.mark.parametrize("protection", [ControlChannelProtection.TLS_CRYPT, ControlChannelProtection.NONE])
async def test_its_profile_is_that_of_the_file_without_the_client(
    tmp_path: Path, store: Store, protection: ControlChannelProtection
) -> None:
    declared = main(
        public_hostname="vpn.example.com",
        control_channel=accepting("tls-auth", protection.value),
        data_channel={"data_ciphers": ["AES-128-GCM"]},
        tls_version_min="1.3",
    )
    async with managed_world(tmp_path, store, declared) as world:
        (spec,) = world.reconciler.config.spec.endpoints
        authority = find_server_authority(spec)
        expected = build_profile(spec, None, (), server_authority=authority, protection=protection)
        (exported,) = invoke(store, "ExportClientVpnClientConfiguration", ClientVpnEndpointId=MAIN_ID).values()
        assert exported.splitlines()[1:] == expected.splitlines()[1:]  # but for the endpoint's name


async def test_where_each_client_has_a_key_of_its_own_the_profile_is_made_where_they_are(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store, main(control_channel=accepting("tls-crypt-v2", "tls-auth"))):
        with refused("UnsupportedOperation", "portway profile NAME --endpoint main"):
            invoke(store, "ExportClientVpnClientConfiguration", ClientVpnEndpointId=MAIN_ID)


async def test_networks_are_for_all_endpoints_and_those_of_an_endpoint_for_it_alone(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store, main()) as world:
        found = {row.name: row for row in world.rows(schema.network)}
        assert found.keys() == {"office", "lab", "main/office"}
        assert (found["office"].subnet_id, found["office"].vpc_id) == (OFFICE_ID, vpc_id("main"))
        assert (found["office"].next_hop, found["office"].file_endpoint_id) == (OFFICE["next_hop"], None)
        assert found["main/office"].file_endpoint_id == MAIN_ID
        assert found["main/office"].vpc_id != vpc_id("main")
        await world.reload(networks=(LAB,))
        assert [row.name for row in world.rows(schema.network)] == ["lab"]


async def test_this_gateway_is_named(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        (node,) = world.rows(schema.gateway_node)
        assert (node.name, node.configuration_file) == ("lab", str(tmp_path / "config.toml"))
        world.now += 30
        await world.round(shows_own=True)
        assert world.rows(schema.gateway_node)[0].seen_at == node.seen_at + 30


async def test_an_association_keeps_its_id_for_as_long_as_it_lasts(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main()) as world:
        (before,) = world.rows(schema.association)
    async with managed_world(tmp_path, store, main(vpn_port=1194)) as world:
        (after,) = world.rows(schema.association)
        assert (after.id, after.created_at) == (before.id, before.created_at)
        await world.reload(main(target_network=[], route=[]))
        (gone,) = world.rows(schema.association)
        assert (gone.id, gone.status_code) == (before.id, "disassociated")
        await world.reload(main())
        alive = [row for row in world.rows(schema.association) if row.ended_at is None]
        assert [row.id for row in alive] != [before.id]
        assert len(world.rows(schema.usage)) == 2


async def test_an_endpoint_that_is_no_longer_declared_ends_and_may_come_back(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main()) as world:
        await world.reload()
        (row,) = world.rows(schema.endpoint)
        assert row.status_code == "deleted"
        assert row.ended_at is not None
        assert world.rows(schema.route) == world.rows(schema.authorization_rule) == world.rows(schema.crl) == []
        await world.reload(main())
        (row,) = world.rows(schema.endpoint)
        assert (row.status_code, row.ended_at) == ("available", None)


async def test_two_endpoints_may_swap_their_ranges(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main(), other()) as world:
        await world.reload(main(client_cidr_block="10.84.0.0/22"), other() | {"client_cidr_block": "10.80.0.0/22"})
        found = {row.name: row.client_cidr_block for row in world.rows(schema.endpoint)}
        assert found == {"main": "10.84.0.0/22", "other": "10.80.0.0/22"}


async def test_what_does_not_run_is_shown_with_the_reason(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main()) as world:
        world.host_problems = (HostProblem("main", "office", "eth1 is down"),)
        await world.round(shows_own=True)
        (association,) = world.rows(schema.association)
        assert (association.status_code, association.status_message) == ("association-failed", "eth1 is down")
        assert [route.status_code for route in world.rows(schema.route)] == ["failed"]


async def test_an_endpoint_that_is_down_is_shown_with_the_reason(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        world.fleet.taken_ports = {443}
        with pytest.raises(FleetError):
            await world.reload(main())
        await world.round(shows_own=True)
        (row,) = world.rows(schema.endpoint)
        assert (row.status_code, row.status_message) == ("pending-associate", "endpoint main: port 443 is taken")
        assert [association.status_code for association in world.rows(schema.association)] == ["association-failed"]


async def test_an_endpoint_made_at_run_time_keeps_its_range_from_being_shown_twice(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    async with managed_world(tmp_path, store) as world:
        world.create(ClientCidrBlock="10.80.0.0/22")
        await world.reload(main())
        assert [row.origin for row in world.rows(schema.endpoint)] == ["api"]
        assert "cannot be shown" in capsys.readouterr().out
        assert {row.name for row in world.rows(schema.network)} >= {"office", "lab"}


async def test_an_endpoint_that_takes_the_range_of_one_made_at_run_time_is_in_no_caller_s_way(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store, main()) as world:
        taken = world.create(ClientCidrBlock="10.90.0.0/22", VpnPort=8443)
        await world.reload(main(client_cidr_block="10.90.0.0/22"))
        assert [row.id for row in world.rows(schema.endpoint) if row.ended_at is None] == [taken]
        world.create(ClientCidrBlock="10.94.0.0/22", VpnPort=1194)
        await world.reload(main())
        assert {row.origin for row in world.rows(schema.endpoint) if row.ended_at is None} == {"api", "file"}


async def test_certificates_of_the_authority_are_offered_with_their_keys_sealed(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        found = world.rows(schema.certificate)
        assert sorted(row.origin for row in found) == ["pki"] * len(found)
        (server,) = [row for row in found if row.private_key is not None]
        assert b"PRIVATE KEY" not in server.private_key
        assert b"PRIVATE KEY" in store.vault.open(server.private_key)
        assert server.chain.count("BEGIN CERTIFICATE") == 2


async def test_a_certificate_that_an_endpoint_of_the_file_uses_is_offered_once(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main()) as world:
        (server,) = [row for row in world.rows(schema.certificate) if row.private_key is not None]
        (row,) = world.rows(schema.endpoint)
        assert row.server_certificate_arn == server.arn


async def test_what_is_published_concerns_no_gateway(tmp_path: Path, store: Store) -> None:
    """Else every gateway would wake up all others at every start."""
    async with managed_world(tmp_path, store, main()) as world:
        assert store.counter() == 0
        with store.read() as connection:
            assert connection.execute(select(schema.endpoint)).all()
        await world.reload(main(vpn_port=1194))
        assert store.counter() == 0
