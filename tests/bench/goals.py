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
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a goal has come to."""

    goal: Goal
    reached: float

    @property
    def met(self) -> bool:
        return self.reached >= self.goal.limit if self.goal.at_least else self.reached <= self.goal.limit


STOCK_UP, STOCK_DOWN = Place("tcp", "up.cpu_s_per_gb"), Place("tcp", "down.cpu_s_per_gb")
IDLE_P99 = Place("latency", "idle.p99_ms")

GOALS = (
    Goal("stock client, one TCP stream, client to network: server CPU per GB", STOCK_UP, 1 / 4),
    Goal("stock client, one TCP stream, network to client: server CPU per GB", STOCK_DOWN, 1 / 3.8),
    Goal(
        "offload-capable client, client to network: server CPU per GB, to OpenVPN's with a stock client",
        Place("load-tcp", "up.cpu_s_per_gb"),
        1 / 7,
        against=STOCK_UP,
    ),
    Goal(
        "offload-capable client, network to client: server CPU per GB, to OpenVPN's with a stock client",
        Place("load-tcp", "down.cpu_s_per_gb"),
        1 / 7,
        against=STOCK_DOWN,
    ),
    Goal(
        "offload-capable client, client to network: throughput, to OpenVPN on both ends",
        Place("load-tcp", "up.mbit_per_s"),
        6,
        at_least=True,
        against=Place("tcp", "up.mbit_per_s"),
    ),
    Goal(
        "offload-capable client, network to client: throughput, to OpenVPN on both ends",
        Place("load-tcp", "down.mbit_per_s"),
        6,
        at_least=True,
        against=Place("tcp", "down.mbit_per_s"),
    ),
    Goal("64-octet packets a second, client to network", Place("packets-64", "up.kpps"), 3, at_least=True),
    Goal("64-octet packets a second, network to client", Place("packets-64", "down.kpps"), 3, at_least=True),
    Goal("round trip, idle, median", Place("latency", "idle.p50_ms"), 1),
    Goal(
        "99th percentile of round trips while 100 clients a second connect, to that without",
        Place("latency", "busy.p99_ms"),
        1,
        Kind.DIFFERENCE,
        against=IDLE_P99,
        unit="ms",
    ),
    Goal("server CPU per connect", Place("connects", "cpu_ms"), 1),
    Goal("memory per client (Pss)", Place("connects", "pss_kb"), 1),
    Goal("memory per client (Pss)", Place("connects", "pss_kb"), 60, Kind.VALUE, unit="kB"),
    Goal("5,000 clients: pings lost", Place("crowd", "lost"), 0, Kind.VALUE),
    Goal("5,000 clients: memory per client (Pss)", Place("crowd", "pss_kb"), 60, Kind.VALUE, unit="kB"),
)


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
