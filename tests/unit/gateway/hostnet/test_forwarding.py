from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from gateway.hostnet.firewall import Claim, TableRecord
from gateway.hostnet.forwarding import plan_forwarding
from gateway.hostnet.leftovers import dead_claims
from gateway.hostnet.records import Device, ForwardingState, Link

ETH = Device("eth1", 3)
LINKS = {"eth1": Link("eth1", 3, is_tun=False, is_up=True, mtu=1500, queue_length=1000)}
NOBODY = frozenset[Device]()


def never_asked() -> frozenset[Device]:
    raise AssertionError("the claims of others do not matter here")


def state(*, on: bool, host: bool = False) -> ForwardingState:
    return ForwardingState(host, frozenset({ETH.ifindex} if on else ()))


WANTED = frozenset({ETH})
OURS = frozenset({Claim(ETH, host_forwarded=False)})


def test_an_interface_that_is_off_is_claimed_and_turned_on() -> None:
    plan = plan_forwarding(WANTED, frozenset(), NOBODY, state(on=False), never_asked)
    assert plan.claims == plan.claims_after == OURS
    assert plan.turn_on == WANTED
    assert not plan.turn_off


def test_an_interface_that_is_on_and_claimed_by_nobody_is_the_administrators() -> None:
    plan = plan_forwarding(WANTED, frozenset(), NOBODY, state(on=True), lambda: NOBODY)
    assert not plan.claims
    assert plan.host_owned == WANTED
    again = plan_forwarding(WANTED, frozenset(), plan.host_owned, state(on=True), never_asked)
    assert again == plan


def test_an_interface_that_another_daemon_turned_on_is_claimed_too() -> None:
    plan = plan_forwarding(WANTED, frozenset(), NOBODY, state(on=True), lambda: WANTED)
    assert plan.claims_after == OURS
    assert not plan.turn_on


def test_what_is_claimed_and_found_off_is_turned_on_again() -> None:
    plan = plan_forwarding(WANTED, OURS, NOBODY, state(on=False), never_asked)
    assert plan.turn_on == WANTED
    assert plan.claims_after == OURS


def test_the_administrators_interface_is_claimed_once_it_is_off() -> None:
    plan = plan_forwarding(WANTED, frozenset(), WANTED, state(on=False), never_asked)
    assert plan.claims_after == OURS
    assert not plan.host_owned


def test_what_is_given_back_is_turned_off_under_the_guard() -> None:
    plan = plan_forwarding(NOBODY, OURS, NOBODY, state(on=True), lambda: NOBODY)
    assert plan.claims == OURS
    assert plan.turn_off == WANTED
    assert not plan.claims_after


def test_what_another_needs_is_left_on_and_looked_at_again() -> None:
    plan = plan_forwarding(NOBODY, OURS, NOBODY, state(on=True), lambda: WANTED)
    assert not plan.turn_off
    assert not plan.claims_after
    assert plan.left_on == WANTED


def test_a_host_that_has_become_a_router_takes_its_interfaces_back() -> None:
    plan = plan_forwarding(WANTED, OURS, NOBODY, state(on=True, host=True), lambda: NOBODY)
    assert not plan.claims
    assert not plan.turn_off
    assert plan.host_owned == WANTED


def test_an_interface_that_a_router_had_off_is_given_back_off() -> None:
    taken = plan_forwarding(WANTED, frozenset(), NOBODY, state(on=False, host=True), never_asked)
    assert taken.claims_after == {Claim(ETH, host_forwarded=True)}
    given_back = plan_forwarding(NOBODY, taken.claims_after, NOBODY, state(on=True, host=True), lambda: NOBODY)
    assert given_back.turn_off == WANTED


@dataclass
class Host:
    """One interface, and the tables of daemons that do as their plans say."""

    on: bool
    tables: dict[str, frozenset[Claim]] = field(default_factory=dict)
    alive: dict[str, frozenset[Device]] = field(default_factory=dict)
    """What each running daemon believes to be the administrator's."""

    def start(self, name: str) -> None:
        records = {table: TableRecord(frozenset(), claims) for table, claims in self.tables.items()}
        dead = set(records) - set(self.alive)
        if dead_claims(records, dead, LINKS):
            self.on = False
        self.tables = {table: claims for table, claims in self.tables.items() if table not in dead}
        self.alive[name] = frozenset()

    def reconcile(self, name: str, wanted: frozenset[Device]) -> None:
        def others() -> frozenset[Device]:
            return frozenset(claim.device for other, held in self.tables.items() if other != name for claim in held)

        plan = plan_forwarding(wanted, self.tables.get(name, frozenset()), self.alive[name], state(on=self.on), others)
        self.tables[name] = plan.claims
        self.on = (self.on or bool(plan.turn_on)) and not plan.turn_off
        self.tables[name] = plan.claims_after
        if plan.left_on - others():
            self.on = False
        self.alive[name] = plan.host_owned

    def stop(self, name: str) -> None:
        self.reconcile(name, NOBODY)
        del self.tables[name], self.alive[name]

    def kill(self, name: str) -> None:
        del self.alive[name]


steps = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["want", "release", "stop", "kill"])), max_size=30)


@given(st.booleans(), steps)
def test_whatever_daemons_do_the_interface_ends_as_it_was_found(on: bool, history: list[tuple[str, str]]) -> None:
    host = Host(on)
    users: set[str] = set()
    for name, step in history:
        if name not in host.alive:
            host.start(name)
        users.discard(name)
        if step == "want":
            host.reconcile(name, WANTED)
            users.add(name)
        elif step == "release":
            host.reconcile(name, NOBODY)
        elif step == "stop":
            host.stop(name)
        else:
            host.kill(name)
        assert host.on or not users
    for name in list(host.alive):
        host.stop(name)
    host.start("last")
    host.stop("last")
    assert host.on == on
    assert not host.tables
