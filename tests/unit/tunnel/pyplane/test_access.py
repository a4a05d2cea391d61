from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.plane_suite.rig import GATEWAY, NETWORK, access
from tunnel.plane import Drop, Verdict
from tunnel.pyplane.access import AccessTables

DROPS = {Verdict.NO_ROUTE: Drop.NO_ROUTE, Verdict.NO_RULE: Drop.NO_RULE}
addresses = st.integers(1 << 24, (127 << 24) - 1)


@given(rules=st.dictionaries(addresses, st.sampled_from(Verdict), max_size=20), probes=st.lists(addresses, max_size=20))
def test_answers_are_the_tables_first_and_every_time(rules: dict[int, Verdict], probes: list[int]) -> None:
    table = access(*((str(IPv4Address(start)), verdict) for start, verdict in rules.items()))
    found = AccessTables(NETWORK, GATEWAY).access(table)
    for probe in [*probes, *rules] * 2:
        address = IPv4Address(probe)
        if address in (GATEWAY, NETWORK.broadcast_address):
            continue
        verdict = next((rules[start] for start in sorted(rules, reverse=True) if start <= probe), Verdict.NO_ROUTE)
        answer = found.answers.get(address.packed) or found.decide(address.packed)
        assert answer is DROPS.get(verdict, verdict)


def test_equal_tables_share_their_answers_as_long_as_somebody_uses_them() -> None:
    tables = AccessTables(NETWORK, GATEWAY)
    one, two = (tables.access(access(("10.0.0.0", Verdict.FORWARD))) for _ in range(2))
    other = tables.access(access(("10.0.0.0", Verdict.NO_RULE)))
    assert one is two
    assert other is not one
    one.decide(bytes([10, 0, 0, 1]))
    del one, two
    assert tables.access(access(("10.0.0.0", Verdict.FORWARD))).answers == {}


def test_answers_are_bounded() -> None:
    found = AccessTables(NETWORK, GATEWAY).access(access(("10.0.0.0", Verdict.FORWARD)))
    for number in range(10_000):
        assert found.decide((0x0A000001 + number).to_bytes(4, "big")) is Verdict.FORWARD
        assert len(found.answers) <= 4096


def test_the_gateways_own_address_needs_a_rule_like_any_other() -> None:
    tables = AccessTables(NETWORK, GATEWAY)
    assert tables.access(access(("10.80.0.0", Verdict.LOCAL))).decide(GATEWAY.packed) is Verdict.FORWARD
    assert tables.access(access(("10.80.0.0", Verdict.NO_RULE))).decide(GATEWAY.packed) is Drop.NO_RULE
