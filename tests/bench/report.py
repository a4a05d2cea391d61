"""What the bench says: a table for each scenario and one of the goals; the same as Markdown; everything as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tests.bench.figures import label_of, medians, shown
from tests.bench.goals import BASELINE, Kind, outcomes
from tests.bench.scenarios import Reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.bench.figures import Medians, Results
    from tests.bench.goals import Goal, Outcome
    from tests.bench.machine import Machine
    from tests.bench.rig import Figures
    from tests.bench.scenarios import Scenario

__all__ = ["as_json", "as_markdown", "goal_rows", "goal_table", "rows_of", "scenario_table"]


SERVERS = ("native", "python", BASELINE)


def rows_of(servers: dict[str, Figures]) -> list[list[str]]:
    """A row for each figure: what it is, each server's value, and the ratio of each other one to the baseline."""
    names = next(iter(servers.values()))
    rows = []
    for name in names:
        measure = label_of(name)
        values = [shown(name, figures[name]) for figures in servers.values()]
        label = f"{measure.label}, {measure.unit}" if measure.unit else measure.label
        rows.append([label, *values, *_ratios(servers, name)])
    return rows


def _ratios(servers: dict[str, Figures], name: str) -> list[str]:
    if BASELINE not in servers:
        return []
    base = servers[BASELINE][name]
    others = [figures[name] for server, figures in servers.items() if server != BASELINE]
    return [f"{value / base:.2f}" if base else "-" for value in others]


def header_of(servers: Iterable[str]) -> list[str]:
    """What stands above the columns of `rows_of`."""
    servers = list(servers)
    ratios = [f"{server} ratio" for server in servers if server != BASELINE] if BASELINE in servers else []
    return ["", *servers, *ratios]


def scenario_table(scenario: Scenario, results: Results) -> Table:
    """One scenario, for a terminal."""
    servers = medians(results)[scenario.name]
    table = Table(title=_title(scenario, results), title_justify="left")
    for number, heading in enumerate(header_of(servers)):
        table.add_column(heading, justify="left" if number == 0 else "right")
    for row in rows_of(servers):
        table.add_row(*row)
    return table


GOAL_HEADER = ("", *SERVERS, "reached", "goal", "")


def goal_table(found: Medians) -> Table:
    """Every goal that was measured, for a terminal."""
    table = Table(title="Goals of the native plane", title_justify="left")
    for number, heading in enumerate(GOAL_HEADER):
        table.add_column(heading, justify="left" if number == 0 else "right")
    for row in goal_rows(found):
        table.add_row(*row)
    return table


def goal_rows(found: Medians) -> list[list[str]]:
    """A row for each goal: the figure of each server, what it comes to, and the limit."""
    return [_goal_row(outcome, found) for outcome in outcomes(found)]


def _goal_row(outcome: Outcome, found: Medians) -> list[str]:
    goal = outcome.goal
    unit = label_of(goal.place.figure).unit
    places = [goal.baseline if server == BASELINE else goal.place for server in SERVERS]
    values = [place.of(found, server) for place, server in zip(places, SERVERS, strict=True)]
    return [
        f"{goal.text}, {unit}" if unit else goal.text,
        *("-" if value is None else shown(goal.place.figure, value) for value in values),
        _goal_value(goal, outcome.reached),
        f"{'at least' if goal.at_least else 'at most'} {_goal_value(goal, goal.limit)}",
        "met" if outcome.met else "missed",
    ]


def _goal_value(goal: Goal, value: float) -> str:
    if goal.kind is not Kind.RATIO:
        return _plain(value, 2)
    return f"1/{_plain(1 / value, 2)}" if not goal.at_least and 0 < value < 1 else f"{_plain(value, 2)}×"  # noqa: RUF001


def _plain(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")


def _title(scenario: Scenario, results: Results) -> str:
    runs = min(len(runs) for runs in results[scenario.name].values())
    setting = scenario.setting
    tunnel = "" if isinstance(scenario.work, Reads) else f"{setting.cipher} over {setting.transport}, "
    return f"{scenario.name}: {scenario.about} ({tunnel}medians of {runs})"


def as_markdown(scenarios: Sequence[Scenario], results: Results, begun: Machine) -> str:
    """All tables, goals first."""
    found = medians(results)
    parts = [
        f"Measured on {begun}. Up is from the client to the network, down the other way.",
        "",
        *_markdown_table(GOAL_HEADER, goal_rows(found)),
    ]
    for scenario in scenarios:
        servers = found.get(scenario.name, {})
        if servers:
            parts += ["", f"### {_title(scenario, results)}", ""]
            parts += _markdown_table(header_of(servers), rows_of(servers))
    return "\n".join(parts) + "\n"


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_markdown_row(header), "|---|" + "---:|" * (len(header) - 1), *map(_markdown_row, rows)]


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_json(
    scenarios: Sequence[Scenario], results: Results, begun: Machine, load_average: tuple[float, float, float]
) -> str:
    """The machine, and how busy it is by now; scenarios, medians and every single run."""
    document: dict[str, Any] = {
        "machine": asdict(begun),
        "load_average_at_the_end": load_average,
        "scenarios": [
            {"name": scenario.name, "about": scenario.about, "setting": asdict(scenario.setting)}
            for scenario in scenarios
            if scenario.name in results
        ],
        "medians": medians(results),
        "runs": results,
    }
    return json.dumps(document, indent=2) + "\n"
