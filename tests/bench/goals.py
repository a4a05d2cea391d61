"""What Portway's native plane wants to reach, and whether it does. Ratios are to OpenVPN in the same run.

A goal whose scenario was not measured, or not with both servers, has no outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.figures import Medians
    from tests.bench.rig import Figures

__all__ = ["GOALS", "Goal", "Kind", "Outcome", "Place", "outcomes"]

BASELINE = "openvpn"
CANDIDATE = "native"


class Kind(Enum):
    """What is compared with the limit."""

    RATIO = "ratio"
    """To OpenVPN."""
    VALUE = "value"
    """Nothing: the figure itself counts."""
    DIFFERENCE = "difference"
    """To another figure of the same server."""


@dataclass(frozen=True, slots=True)
class Place:
    """One figure of one scenario."""

    scenario: str
    figure: str

    def of(self, medians: Medians, server: str) -> float | None:
        figures: Figures = medians.get(self.scenario, {}).get(server, {})
        return figures.get(self.figure)


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for a figure."""

    text: str
    place: Place
    limit: float
    kind: Kind = Kind.RATIO
    at_least: bool = False
    """Whether more is better."""
    against: Place | None = None
    """The other figure, where it is not the same one: of OpenVPN for a ratio, of the same server for a difference."""

    @property
    def baseline(self) -> Place:
        """The figure of OpenVPN that stands beside this one."""
        return self.against if self.against is not None and self.kind is Kind.RATIO else self.place


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a goal has come to."""

    goal: Goal
    reached: float

    @property
    def met(self) -> bool:
        return self.reached >= self.goal.limit if self.goal.at_least else self.reached <= self.goal.limit


STOCK_UP, STOCK_DOWN = Place("tcp", "up.cpu_s_per_gb"), Place("tcp", "down.cpu_s_per_gb")
STOCK_FAST_UP, STOCK_FAST_DOWN = Place("tcp", "up.mbit_per_s"), Place("tcp", "down.mbit_per_s")
LOAD_UP, LOAD_DOWN = Place("load-tcp", "up.cpu_s_per_gb"), Place("load-tcp", "down.cpu_s_per_gb")
LOAD_FAST_UP, LOAD_FAST_DOWN = Place("load-tcp", "up.mbit_per_s"), Place("load-tcp", "down.mbit_per_s")
ALLOWED, REFUSED = Place("rule-change", "allowed.max_ms"), Place("rule-change", "refused.max_ms")
READ_WITHIN_MS = 50
IN_FORCE_WITHIN_MS = 1000
IDLE_P99, BUSY_P99 = Place("latency", "idle.p99_ms"), Place("latency", "busy.p99_ms")

GOALS = (
    Goal("stock client, one TCP stream up: server CPU", STOCK_UP, 1 / 4),
    Goal("stock client, one TCP stream down: server CPU", STOCK_DOWN, 1 / 3.8),
    Goal("offload-capable client, one TCP stream up: server CPU", LOAD_UP, 1 / 7, against=STOCK_UP),
    Goal("offload-capable client, one TCP stream down: server CPU", LOAD_DOWN, 1 / 7, against=STOCK_DOWN),
    Goal("the same up: throughput", LOAD_FAST_UP, 6, at_least=True, against=STOCK_FAST_UP),
    Goal("the same down: throughput", LOAD_FAST_DOWN, 6, at_least=True, against=STOCK_FAST_DOWN),
    Goal("64-octet packets up", Place("packets-64", "up.kpps"), 3, at_least=True),
    Goal("64-octet packets down", Place("packets-64", "down.kpps"), 3, at_least=True),
    Goal("round trip, idle, median", Place("latency", "idle.p50_ms"), 1),
    Goal(
        "round trip while 100 clients a second connect, 99th percentile, beyond that of idle ones",
        BUSY_P99,
        1,
        Kind.DIFFERENCE,
        against=IDLE_P99,
    ),
    Goal("server CPU per connect", Place("connects", "cpu_ms"), 1),
    Goal("time to connect while another client floods, longest", Place("connects-flooded", "flooded.longest_ms"), 1),
    Goal("memory per client (Pss)", Place("connects", "pss_kb"), 60, Kind.VALUE),
    Goal("5,000 clients: memory per client (Pss)", Place("crowd", "pss_kb"), 60, Kind.VALUE),
    Goal("5,000 clients: pings lost, of 50,000", Place("crowd", "lost"), 0, Kind.VALUE),
    *(
        Goal(
            f"API on {engine}: read {what}, 99th percentile",
            Place(scenario, f"{about}.server_p99_ms"),
            READ_WITHIN_MS,
            Kind.VALUE,
        )
        for engine, scenario in (("SQLite", "api-read"), ("PostgreSQL", "api-read-postgresql"))
        for about, what in (("endpoints", "an endpoint"), ("rules", "200 rules"), ("connections", "1,000 connections"))
    ),
    Goal("1,000 clients: until the last one passes by a new rule, longest", ALLOWED, IN_FORCE_WITHIN_MS, Kind.VALUE),
    Goal("1,000 clients: until none passes without the rule, longest", REFUSED, IN_FORCE_WITHIN_MS, Kind.VALUE),
)
"""With an offload-capable client Portway is compared with OpenVPN on both ends, which has none."""


def outcomes(medians: Medians) -> list[Outcome]:
    """Every goal that these figures say something about."""
    found = [(goal, _reached(goal, medians)) for goal in GOALS]
    return [Outcome(goal, reached) for goal, reached in found if reached is not None]


def _reached(goal: Goal, medians: Medians) -> float | None:
    value = goal.place.of(medians, CANDIDATE)
    other = (goal.against or goal.place).of(medians, CANDIDATE if goal.kind is Kind.DIFFERENCE else BASELINE)
    if value is None or goal.kind is Kind.VALUE:
        return value
    if other is None:
        return None
    if goal.kind is Kind.DIFFERENCE:
        return value - other
    return value / other if other else None
