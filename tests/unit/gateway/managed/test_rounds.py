from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest
import trio

from gateway.hostnet import HostProblem
from gateway.managed.controller import AGAIN_MOST_S, AGAIN_S
from gateway.reload import ConfigRefused
from gateway.store import schema
from policy import AuthorizationRule, ControlChannelProtection
from tests.unit.gateway.managed.world import LAB, LAB_ID, OFFICE, OFFICE_ID, managed_world
from tests.unit.gateway.test_reload import main

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store
    from policy import EndpointSpec


async def test_an_endpoint_runs_as_soon_as_it_has_a_target_network(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        await world.round()
        assert world.fleet.running == []
        assert world.statuses(schema.endpoint) == {endpoint_id: ("pending-associate", "")}
        association_id = world.associate(endpoint_id)
        await world.round()
        assert world.fleet.running == [endpoint_id]
        assert world.statuses(schema.endpoint) == {endpoint_id: ("available", "")}
        assert world.statuses(schema.association) == {association_id: ("associated", "")}
        assert world.statuses(schema.route) == {"10.20.0.0/24": ("active", "")}
        assert [row.id for row in world.rows(schema.usage)] == [association_id]


async def test_what_was_asked_for_is_what_runs(tmp_path: Path, store: Store) -> None:
    defaults = {"groups_from": "subject.OU", "public_hostname": "vpn.example.com", "listen": "127.0.0.1"}
    async with managed_world(tmp_path, store, endpoint_defaults=defaults) as world:
        endpoint_id = world.create(
            DnsServers=["10.20.0.53"], VpnPort=1194, TransportProtocol="tcp", SessionTimeoutHours=8, SplitTunnel=False
        )
        world.associate(endpoint_id)
        world.authorize(endpoint_id, group="engineering")
        await world.round()
        spec = world.spec(endpoint_id)
        assert (spec.client_cidr_block, spec.vpn_port) == (IPv4Network("10.90.0.0/22"), 1194)
        assert (spec.transport_protocol, spec.session_timeout_hours, spec.split_tunnel) == (("tcp",), 8, False)
        assert [str(server) for server in spec.dns_servers] == ["10.20.0.53"]
        assert (str(spec.listen), spec.public_hostname) == ("127.0.0.1", "vpn.example.com")
        assert spec.authentication.groups_from == "subject.OU"
        assert spec.control_channel.accept == (ControlChannelProtection.TLS_CRYPT,)
        assert len(spec.control_channel.tls_crypt_key or b"") == 256
        assert [target.name for target in spec.target_networks] == [OFFICE_ID]
        assert spec.authorization_rules == (AuthorizationRule(IPv4Network("10.20.0.0/24"), "engineering"),)


async def test_a_control_channel_without_protection_is_what_the_file_asks_for(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, endpoint_defaults={"control_channel": "none"}) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.round()
        spec = world.spec(endpoint_id)
        assert spec.control_channel.accept == (ControlChannelProtection.NONE,)


async def test_a_change_that_is_being_carried_out_is_not_cut_off(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        world.associate(endpoint_id := world.create())
        world.fleet.host.pause_s = 0.05
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.round)
            await world.fleet.host.asked_to_add.wait()
            nursery.cancel_scope.cancel()
        assert world.fleet.running == [endpoint_id]
        assert [one.row.id for one in world.last_known.read().endpoints] == [endpoint_id]


async def test_rules_come_and_go_in_place(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.round()
        endpoint = world.fleet.fleet.endpoints[0]
        world.authorize(endpoint_id)
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("authorizing", "")}
        await world.round()
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("active", "")}
        assert world.spec(endpoint_id).authorization_rules == (AuthorizationRule(IPv4Network("10.20.0.0/24"), None),)
        world.revoke(endpoint_id)
        await world.round()
        assert world.rows(schema.authorization_rule) == []
        assert world.spec(endpoint_id).authorization_rules == ()
        assert world.fleet.fleet.endpoints == (endpoint,)


async def test_a_rule_needs_no_target_network_to_be_in_order(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.authorize(endpoint_id)
        await world.round()
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("active", "")}
        world.revoke(endpoint_id)
        await world.round()
        assert world.rows(schema.authorization_rule) == []


async def test_without_its_last_target_network_an_endpoint_stops(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        first, second = world.associate(endpoint_id), world.associate(endpoint_id, LAB_ID)
        world.route(endpoint_id, "192.168.0.0/16")
        hold_groups(store, first, second)
        await world.round()
        world.disassociate(endpoint_id, first)
        await world.round()
        assert world.fleet.running == [endpoint_id]
        assert world.statuses(schema.association) == {first: ("disassociated", ""), second: ("associated", "")}
        assert world.statuses(schema.route) == {"10.30.0.0/24": ("active", "")}
        world.disassociate(endpoint_id, second)
        await world.round()
        assert world.fleet.running == []
        assert world.rows(schema.route) == []
        assert world.statuses(schema.endpoint) == {endpoint_id: ("pending-associate", "")}
        assert all(row.ended_at for row in (*world.rows(schema.association), *world.rows(schema.usage)))
        assert world.rows(schema.association_security_group) == []


def hold_groups(store: Store, *association_ids: str) -> None:
    with store.write() as connection:
        table = schema.association_security_group
        connection.execute(table.delete())
        group = {"id": "sg-1", "vpc_id": "vpc-1", "name": "all", "description": "", "created_at": 1.0}
        connection.execute(schema.security_group.insert().values(**group))
        everything = {"is_egress": True, "protocol": "-1", "from_port": -1, "to_port": -1, "cidr": "0.0.0.0/0"}
        rule = {"id": "sgr-1", "group_id": "sg-1", "created_at": 1.0}
        connection.execute(schema.security_group_rule.insert().values(**everything, **rule))
        for association_id in association_ids:
            connection.execute(table.insert().values(association_id=association_id, group_id="sg-1", position=0))


async def test_a_deleted_endpoint_leaves_a_row_and_nothing_else(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        world.authorize(endpoint_id)
        await world.round()
        world.disassociate(endpoint_id, association_id)
        await world.round()
        world.delete(endpoint_id)
        await world.round()
        assert world.fleet.running == []
        (row,) = world.rows(schema.endpoint)
        assert (row.status_code, row.ended_at) == ("deleted", world.now)
        assert world.rows(schema.authorization_rule) == world.rows(schema.route) == []
        again = world.create()
        world.associate(again)
        await world.round()
        assert world.fleet.running == [again]


async def test_what_the_daemon_never_saw_running_ends_as_well(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        world.disassociate(endpoint_id, association_id)
        await world.round()
        assert world.statuses(schema.association) == {association_id: ("disassociated", "")}
        assert world.fleet.book == []


async def test_of_two_ways_to_a_destination_that_of_the_older_association_counts(tmp_path: Path, store: Store) -> None:
    networks = (OFFICE, LAB | {"next_hop": "10.30.0.254"})
    async with managed_world(tmp_path, store, networks=networks) as world:
        endpoint_id = world.create()
        older, _ = world.associate(endpoint_id, LAB_ID), world.associate(endpoint_id)
        for subnet in (OFFICE_ID, LAB_ID):
            world.route(endpoint_id, "192.168.0.0/16", subnet)
        await world.round()
        assert ("192.168.0.0/16", LAB_ID) in routes(world.spec(endpoint_id))
        assert {code for code, _ in world.statuses(schema.route).values()} == {"active"}
        assert len(world.rows(schema.route)) == 4
        world.disassociate(endpoint_id, older)
        await world.round()
        assert routes(world.spec(endpoint_id)) == [("10.20.0.0/24", OFFICE_ID), ("192.168.0.0/16", OFFICE_ID)]


def routes(spec: EndpointSpec) -> list[tuple[str, str]]:
    return [(str(route.destination), route.target) for route in spec.routes]


async def test_a_network_that_is_no_longer_declared_fails_by_itself(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        office, lab = world.associate(endpoint_id), world.associate(endpoint_id, LAB_ID)
        await world.round()
        await world.reload(networks=(OFFICE,))
        code, message = world.statuses(schema.association)[lab]
        assert code == "association-failed"
        assert f"no network {LAB_ID} any more" in message
        assert world.statuses(schema.association)[office] == ("associated", "")
        assert world.fleet.running == [endpoint_id]
        await world.reload()
        assert world.statuses(schema.association)[lab] == ("associated", "")


async def test_an_interface_that_the_host_lacks_fails_what_leads_there(tmp_path: Path, store: Store) -> None:
    networks = (OFFICE, LAB | {"interface": "eth9"})
    async with managed_world(tmp_path, store, networks=networks) as world:
        endpoint_id = world.create()
        office, lab = world.associate(endpoint_id), world.associate(endpoint_id, LAB_ID)
        await world.round()
        statuses = world.statuses(schema.association)
        assert statuses[office] == ("associated", "")
        assert statuses[lab][0] == "association-failed"
        assert 'no interface "eth9"' in statuses[lab][1]
        assert world.statuses(schema.route)["10.30.0.0/24"][0] == "failed"
        assert world.statuses(schema.endpoint)[endpoint_id] == ("available", "")
        await world.reload(networks=(OFFICE, LAB))
        assert world.statuses(schema.association)[lab] == ("associated", "")
        assert world.statuses(schema.route)["10.30.0.0/24"] == ("active", "")


async def test_what_the_host_finds_out_later_is_told_and_taken_back(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        await world.round()
        world.host_problems = (HostProblem(endpoint_id, OFFICE_ID, "eth1 is down"),)
        await world.round()
        assert world.statuses(schema.association) == {association_id: ("association-failed", "eth1 is down")}
        assert world.statuses(schema.endpoint)[endpoint_id][0] == "pending-associate"
        assert world.fleet.running == [endpoint_id]
        world.host_problems = ()
        await world.round()
        assert world.statuses(schema.association) == {association_id: ("associated", "")}


async def test_a_route_that_leads_nowhere_fails_alone(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, networks=(OFFICE, LAB)) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        world.route(endpoint_id, "192.168.0.0/16")
        await world.round()
        without_next_hop = {key: value for key, value in OFFICE.items() if key != "next_hop"}
        await world.reload(networks=(without_next_hop, LAB))
        code, message = world.statuses(schema.route)["192.168.0.0/16"]
        assert code == "failed"
        assert "which has no gateway" in message
        assert routes(world.spec(endpoint_id)) == [("10.20.0.0/24", OFFICE_ID)]


async def test_an_endpoint_in_the_way_of_the_file_s_does_not_run(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main(vpn_port=1194)) as world:
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        world.authorize(endpoint_id)
        with store.write() as connection:  # as if the file had got this port after the API looked
            connection.execute(
                schema.endpoint.update().where(schema.endpoint.c.id == endpoint_id).values(vpn_port=1194)
            )
        await world.round()
        assert world.fleet.running == ["main"]
        code, message = world.statuses(schema.endpoint)[endpoint_id]
        assert code == "pending-associate"
        assert 'The endpoint "main" listens on udp port 1194 too.' in message
        assert world.statuses(schema.association) == {association_id: ("association-failed", message)}
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("failed", message)}
        await world.reload(main(vpn_port=1195))
        assert set(world.fleet.running) == {"main", endpoint_id}
        assert world.statuses(schema.endpoint)[endpoint_id] == ("available", "")
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("active", "")}


async def test_a_file_in_the_way_of_an_endpoint_that_runs_is_refused(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.round()
        with pytest.raises(ConfigRefused, match=rf'^endpoint\[0\].vpn_port \(endpoint "main"\): .*{endpoint_id}'):
            await world.reload(main())
        assert world.fleet.running == [endpoint_id]


async def test_a_reload_leaves_endpoints_that_are_not_the_file_s_alone(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store, main(vpn_port=1194)) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.round()
        endpoint = world.fleet.fleet.endpoints[1]
        await world.reload(main(vpn_port=1195))
        assert endpoint in world.fleet.fleet.endpoints
        await world.reload()
        assert world.fleet.fleet.endpoints == (endpoint,)


async def test_a_port_that_is_taken_is_tried_again(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        world.fleet.taken_ports = {443}
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        await world.round()
        assert world.statuses(schema.association) == {association_id: ("association-failed", "port 443 is taken")}
        world.fleet.taken_ports = set()
        await world.round()
        assert world.statuses(schema.association) == {association_id: ("associated", "")}
        assert world.statuses(schema.endpoint) == {endpoint_id: ("available", "")}


async def test_a_port_that_another_program_has_leaves_the_former_one_and_costs_nobody_a_session(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        world.authorize(endpoint_id)
        await world.round()
        world.fleet.taken_ports = {1194}
        world.fleet.book.clear()
        world.modify(endpoint_id, VpnPort=1194)
        world.revoke(endpoint_id)
        await world.round()
        assert world.fleet.book == []
        assert world.statuses(schema.endpoint)[endpoint_id] == ("available", "port 1194 is taken")
        assert (world.spec(endpoint_id).vpn_port, world.spec(endpoint_id).authorization_rules) == (443, ())
        assert world.rows(schema.authorization_rule) == []
        world.fleet.taken_ports = set()
        await world.round()
        assert world.statuses(schema.endpoint)[endpoint_id] == ("available", "")
        assert world.spec(endpoint_id).vpn_port == 1194
        assert world.fleet.running == [endpoint_id]


async def test_a_transport_that_comes_to_a_port_is_tried_where_the_endpoint_is_not_yet(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store) as world:
        tried: list[set[str]] = []
        world.fleet.fleet._check_free = lambda settings: tried.append({one.value for one in settings.transports})
        endpoint_id = world.create(TransportProtocol="udp")
        world.associate(endpoint_id)
        await world.round()
        world.modify(endpoint_id, VpnPort=1194)
        await world.round()
        with world.store.write() as connection:
            connection.execute(schema.endpoint.update().values(transport_protocols=["udp", "tcp"]))
        await world.round()
        assert tried == [{"udp"}, {"tcp"}]


async def test_two_endpoints_exchange_their_ports(tmp_path: Path, store: Store) -> None:
    """Each is in the way of the other until both are down."""
    async with managed_world(tmp_path, store) as world:
        ids = [world.create(), world.create(ClientCidrBlock="10.94.0.0/22", VpnPort=1194)]
        for endpoint_id in ids:
            world.associate(endpoint_id)
        await world.round()
        with world.store.write() as connection:
            for endpoint_id, port in zip(ids, (1194, 443), strict=True):
                mine = schema.endpoint.c.id == endpoint_id
                connection.execute(schema.endpoint.update().where(mine).values(vpn_port=port))
        await world.round()
        assert [world.spec(endpoint_id).vpn_port for endpoint_id in ids] == [1194, 443]


async def test_settings_that_only_a_restart_finds_impossible_leave_the_former_ones_and_are_tried_again_later(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        world.authorize(endpoint_id)
        await world.round()
        world.fleet.lost_ports = {1194}
        world.modify(endpoint_id, VpnPort=1194)
        await world.round()
        assert world.statuses(schema.endpoint)[endpoint_id] == ("available", "port 1194 is taken")
        spec = world.spec(endpoint_id)
        assert spec.vpn_port == 443
        world.fleet.book.clear()
        world.revoke(endpoint_id)
        await world.round()
        assert world.fleet.book == []
        spec = world.spec(endpoint_id)
        assert spec.authorization_rules == ()
        assert world.rows(schema.authorization_rule) == []
        for pause_s in (AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S):
            world.now += pause_s / 2
            await world.round()
            assert world.fleet.book == []
            world.now += pause_s / 2
            await world.round()
            assert world.spec(endpoint_id).vpn_port == 443
            world.fleet.book.clear()
        world.fleet.lost_ports = set()
        world.now += AGAIN_MOST_S
        await world.round()
        assert world.spec(endpoint_id).vpn_port == 1194
        assert world.statuses(schema.endpoint)[endpoint_id] == ("available", "")


async def test_a_certificate_that_is_gone_leaves_the_former_settings_and_new_rules_take_effect(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.round()
        with store.write() as connection:
            connection.execute(schema.endpoint.update().values(server_certificate_arn="arn:gone"))
        world.authorize(endpoint_id)
        await world.round()
        code, message = world.statuses(schema.endpoint)[endpoint_id]
        assert code == "available"
        assert "no server certificate arn:gone" in message
        spec = world.spec(endpoint_id)
        assert len(spec.authorization_rules) == 1
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("active", "")}


async def test_a_certificate_that_expires_takes_nothing_down(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.round()
        world.now += 100 * 365 * 86_400
        world.authorize(endpoint_id)
        await world.round()
        assert world.statuses(schema.endpoint) == {endpoint_id: ("available", "")}
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("active", "")}


async def test_an_endpoint_with_an_expired_certificate_is_not_put_up(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        world.now += 100 * 365 * 86_400
        await world.round()
        code, message = world.statuses(schema.endpoint)[endpoint_id]
        assert code == "pending-associate"
        assert "expired" in message


async def test_what_was_changed_since_it_was_read_keeps_what_it_was_changed_to(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        world.authorize(endpoint_id)
        carry_out = world.controller.carry_out

        async def interrupted(*arguments: object) -> object:
            outcomes = await carry_out(*arguments)  # type: ignore[arg-type]
            world.revoke(endpoint_id)
            return outcomes

        monkeypatch.setattr(world.controller, "carry_out", interrupted)
        await world.round()
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("revoking", "")}
        monkeypatch.undo()
        await world.round()
        assert world.rows(schema.authorization_rule) == []


async def test_a_gateway_that_ends_leaves_statuses_as_they_are(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        await world.round()
        world.authorize(endpoint_id)
        await world.fleet.fleet.stop_all()
        await world.round()
        assert world.fleet.running == []
        assert world.statuses(schema.endpoint) == {endpoint_id: ("available", "")}
        assert world.statuses(schema.association) == {association_id: ("associated", "")}
        assert world.statuses(schema.authorization_rule) == {"10.20.0.0/24": ("authorizing", "")}


async def test_a_round_without_news_writes_nothing(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.round()
        before = world.store.counter()
        world.fleet.book.clear()
        outcomes = await world.round()
        assert outcomes[endpoint_id].running is not None
        assert world.fleet.book == []
        assert world.store.counter() == before
