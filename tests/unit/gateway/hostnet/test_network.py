"""What `HostNetwork` leaves on the host: nothing, in the end, however the daemon ends; and it holds while it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.packet import Raw

from gateway.hostnet import Device, HostProblem
from tests.lab.process import eventually
from tests.unit.gateway.hostnet.hosts import (
    CLIENT,
    LAB,
    OFFICE,
    TARGET,
    Daemon,
    Hosts,
    RemoteError,
    is_unreachable,
    make_spec,
    udp_packet,
)

pytestmark = pytest.mark.netns


def reaches_target(hosts: Hosts, daemon: Daemon, tun: Device, source: str = CLIENT) -> bool:
    """Whether a question arrives and its answer comes back; a failure may also show as a time-out."""
    service = hosts.udp(hosts.target, TARGET, 5000)
    daemon.send(tun, udp_packet(TARGET, b"question", source=source))
    question, sender = service.recvfrom(100)
    service.sendto(b"answer to " + question, sender)
    answer = daemon.receive(tun)
    service.close()
    return bool(answer.dst == source and answer[Raw].load == b"answer to question")


def test_closing_leaves_the_host_as_it_was_found(hosts: Hosts) -> None:
    before = hosts.state()
    daemon = hosts.started()
    daemon.add(make_spec("one", replace(OFFICE, nat=True), LAB))
    daemon.add(make_spec("other", clients="10.90.0.0/22"))
    assert hosts.state() != before
    daemon.call("close")
    daemon.stop()
    assert hosts.state() == before


def test_the_main_table_is_never_touched(hosts: Hosts) -> None:
    before = hosts.gateway.run("ip", "route", "show", "table", "main").stdout
    hosts.started().add(make_spec("one", OFFICE, LAB))
    assert hosts.gateway.run("ip", "route", "show", "table", "main").stdout == before


def test_the_tunnel_has_its_own_address_and_no_other(hosts: Hosts) -> None:
    hosts.gateway.sysctl("net.ipv6.conf.default.addr_gen_mode", 0)
    hosts.started().add(make_spec())
    shown = hosts.gateway.run("ip", "-o", "addr", "show", "dev", "portway0").stdout.splitlines()
    assert len(shown) == 1
    assert "inet 10.80.0.1/22 scope global noprefixroute" in shown[0]


def test_removing_an_endpoint_leaves_the_others_working(hosts: Hosts) -> None:
    daemon = hosts.started()
    one = daemon.add(make_spec("one", OFFICE, LAB))
    only_one = hosts.state()
    other = daemon.add(make_spec("other", clients="10.90.0.0/22"))
    daemon.call("remove", "other")
    daemon.call("close_tun", other)
    assert hosts.state() == only_one
    assert reaches_target(hosts, daemon, one)


def test_nothing_of_a_removed_endpoint_is_forwarded_while_its_device_lives(hosts: Hosts) -> None:
    hosts.gateway.sysctl("net.ipv4.ip_forward", 1)
    daemon = hosts.started()
    tun = daemon.add(make_spec())
    daemon.call("remove", "main")
    with pytest.raises(RemoteError, match="Input/output error"):
        daemon.send(tun, udp_packet("192.0.2.2", b"leak"))


def test_a_killed_daemons_traces_are_gone_after_the_next_run(hosts: Hosts) -> None:
    before = hosts.state()
    killed = hosts.started()
    killed.add(make_spec("main", OFFICE, LAB))
    killed.kill()
    assert hosts.state() != before
    daemon = hosts.started()
    assert hosts.state() == before
    tun = daemon.add(make_spec())
    assert reaches_target(hosts, daemon, tun)
    daemon.call("close")
    daemon.stop()
    assert hosts.state() == before


def test_any_daemon_cleans_up_after_any_other(hosts: Hosts) -> None:
    before = hosts.state()
    killed = hosts.started("a")
    killed.add(make_spec())
    killed.kill()
    hosts.started("b")
    assert hosts.state() == before


def test_a_starting_daemon_leaves_a_living_one_alone(hosts: Hosts) -> None:
    one = hosts.started("a")
    tun = one.add(make_spec("one", OFFICE, LAB))
    before = hosts.state()
    hosts.started("b")
    assert hosts.state() == before
    assert reaches_target(hosts, one, tun)


@pytest.mark.parametrize("killed", [False, True])
def test_two_daemons_share_an_interface_until_the_last_one_ends(hosts: Hosts, killed: bool) -> None:
    before = hosts.state()
    one, other = hosts.started("a"), hosts.started("b")
    one.add(make_spec("one"))
    tun = other.add(make_spec("other", clients="10.90.0.0/22"))
    if killed:
        one.kill()
        one = hosts.started("a")
    one.call("close")
    one.stop()
    assert reaches_target(hosts, other, tun, source="10.90.0.5")
    other.call("close")
    other.stop()
    assert hosts.state() == before


def test_forwarding_that_was_on_before_stays_on_and_unguarded(hosts: Hosts) -> None:
    hosts.gateway.sysctl("net.ipv4.conf.eth1.forwarding", 1)
    before = hosts.state()
    daemon = hosts.started()
    daemon.add(make_spec("main", OFFICE, LAB))
    opened = hosts.gateway.run("nft", "list", "set", "inet", "portway_a", "opened").stdout
    assert '"eth2"' in opened
    assert '"eth1"' not in opened
    daemon.call("close")
    daemon.stop()
    assert hosts.state() == before


def test_a_host_that_becomes_a_router_meanwhile_stays_one(hosts: Hosts) -> None:
    daemon = hosts.started()
    daemon.add(make_spec())
    hosts.gateway.sysctl("net.ipv4.ip_forward", 1)
    assert daemon.call("reconcile") == ()
    assert '"eth1"' not in hosts.gateway.run("nft", "list", "set", "inet", "portway_a", "opened").stdout
    daemon.call("close")
    assert hosts.forwards("eth1")


DAMAGES = {
    "ruleset flushed": "nft flush ruleset",
    "guard removed": "nft flush chain inet portway_a forward",
    "rules removed": "ip rule flush",
    "table flushed": "ip route flush table all proto 80",
    "forwarding off": "sysctl -q -w net.ipv4.conf.eth1.forwarding=0",
    "host forwarding off": "sysctl -q -w net.ipv4.ip_forward=0",
    "device down": "ip link set portway0 down",
    "address removed": "ip addr flush dev portway0",
    "mtu changed": "ip link set portway0 mtu 1000",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_reconciliation_repairs_what_another_hand_has_changed(hosts: Hosts, damage: str) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec())
    hosts.gateway.run(*damage.split())
    hosts.gateway.run("ip", "rule", "add", "priority", "32766", "lookup", "main", check=False)
    assert daemon.call("reconcile") == ()
    repaired = hosts.state()
    assert reaches_target(hosts, daemon, tun)
    daemon.send(tun, udp_packet("192.0.2.2", b"elsewhere"))
    assert is_unreachable(daemon.receive(tun))
    assert "not a router for others" in repaired
    assert "mtu 1500" in repaired.partition("portway0: ")[2].partition("\n")[0]


def test_a_reconciliation_with_nothing_to_repair_changes_nothing(hosts: Hosts) -> None:
    daemon = hosts.started()
    daemon.add(make_spec("main", OFFICE, LAB))
    handles = hosts.gateway.run("nft", "-a", "list", "ruleset").stdout
    before = hosts.state()
    assert daemon.call("reconcile") == ()
    assert hosts.state() == before
    assert hosts.gateway.run("nft", "-a", "list", "ruleset").stdout == handles


def test_the_watch_repairs_by_itself(hosts: Hosts) -> None:
    daemon = hosts.started()
    daemon.add(make_spec())
    daemon.call("watch")
    whole = hosts.state()
    for damage in ("nft flush ruleset", "ip link set portway0 down"):
        hosts.gateway.run(*damage.split())
        eventually(lambda: hosts.state() == whole, within_s=30, what=f"repair of {damage!r}")


def test_the_watch_reports_problems_when_they_come_and_when_they_go(hosts: Hosts) -> None:
    daemon = hosts.started()
    daemon.add(make_spec("main", OFFICE, LAB))
    daemon.call("watch")
    hosts.gateway.ip("link set eth2 down")
    eventually(lambda: len(daemon.call("reports")) == 1, within_s=30, what="report of the problem")
    hosts.gateway.ip("link set eth2 up")
    eventually(lambda: len(daemon.call("reports")) == 2, within_s=30, what="report of its end")
    ((problem,), nothing) = daemon.call("reports")
    assert problem.target_network == "lab"
    assert nothing == ()


def test_the_watch_tells_of_changes_that_are_no_problem_to_what_runs(hosts: Hosts) -> None:
    daemon = hosts.started()
    daemon.call("watch")
    before = daemon.call("noticed")
    hosts.gateway.ip("link add veth9 type veth peer name veth10")
    eventually(lambda: daemon.call("noticed") > before, within_s=30, what="notice of the interface")
    assert daemon.call("reports") == []


def test_a_target_network_without_its_interface_comes_up_when_the_interface_does(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.call("make_tun")
    (problem,) = daemon.call("add", tun, make_spec("main", OFFICE, replace(LAB, interface="eth9")))
    assert (problem.endpoint, problem.target_network) == ("main", "lab")
    assert "'eth9' of target network 'lab' does not exist" in problem.text
    assert reaches_target(hosts, daemon, tun)
    hosts.gateway.ip("link set eth2 down", "link set eth2 name eth9")
    assert "is down" in daemon.call("reconcile")[0].text
    hosts.gateway.ip("link set eth9 up")
    assert daemon.call("reconcile") == ()
    service = hosts.udp(hosts.second, "10.21.0.53", 5000)
    daemon.send(tun, udp_packet("10.21.0.53", b"question"))
    assert service.recvfrom(100)[0] == b"question"


def test_an_interface_that_vanishes_concerns_its_target_network_only(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec("main", OFFICE, LAB))
    hosts.gateway.ip("link del eth2")
    problems = daemon.call("reconcile")
    assert [problem.target_network for problem in problems] == ["lab"]
    assert reaches_target(hosts, daemon, tun)
    daemon.call("close")


def test_one_endpoints_lost_device_does_not_concern_the_others(hosts: Hosts) -> None:
    daemon = hosts.started()
    one = daemon.add(make_spec("one"))
    other = daemon.add(make_spec("other", clients="10.90.0.0/22"))
    daemon.call("close_tun", other)
    (problem,) = daemon.call("reconcile")
    text = f"the TUN device {other.name} of endpoint 'other' is gone; restart the endpoint"
    assert problem == HostProblem("other", None, text)
    assert reaches_target(hosts, daemon, one)


def test_an_endpoint_that_cannot_be_added_leaves_no_trace(hosts: Hosts) -> None:
    before = hosts.state()
    daemon = hosts.started()
    lost = daemon.call("make_tun")
    daemon.call("close_tun", lost)
    with pytest.raises(RemoteError, match="is gone; restart the endpoint") as raised:
        daemon.call("add", lost, make_spec())
    assert raised.value.kind == "HostNetworkError"
    assert hosts.state() == before


@pytest.mark.parametrize("proc", ["-o bind,ro /proc/sys /proc/sys", "-t proc -o subset=pid proc /proc"])
def test_net_admin_alone_suffices_where_proc_sys_is_read_only_or_hidden(hosts: Hosts, proc: str) -> None:
    before = hosts.state()
    script = f'mount {proc} && exec setpriv --bounding-set=-all,+net_admin -- "$0" "$@"'
    daemon = hosts.daemon(wrapper=["unshare", "--mount", "sh", "-c", script])
    daemon.open()
    tun = daemon.add(make_spec("main", replace(OFFICE, nat=True)))
    assert reaches_target(hosts, daemon, tun)
    daemon.call("close")
    daemon.stop()
    assert hosts.state() == before


def test_a_missing_privilege_is_told_in_a_sentence(hosts: Hosts) -> None:
    daemon = hosts.daemon(wrapper=["setpriv", "--bounding-set=-net_admin", "--"])
    with pytest.raises(RemoteError, match="Operation not permitted; run Portway as root or with CAP_NET_ADMIN"):
        daemon.open()


def test_facts_need_no_privilege_and_know_the_daemons_own_devices(hosts: Hosts) -> None:
    hosts.gateway.ip("addr add fd00::1/64 dev eth1 nodad")
    daemon = hosts.started()
    tun = daemon.add(make_spec())
    own = daemon.call("facts").interface(tun.name)
    assert own.is_own
    assert [str(address) for address in own.addresses] == ["10.80.0.1/22"]
    reader = hosts.daemon(wrapper=["setpriv", "--bounding-set=-all", "--"])
    facts = reader.call("other_facts")
    assert not facts.interface(tun.name).is_own
    assert "10.20.0.1/24" in map(str, facts.interface("eth1").addresses)
    assert "fd00::1/64" in map(str, facts.interface("eth1").addresses)
