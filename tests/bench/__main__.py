"""Portway's two planes beside OpenVPN's own server: `python -m tests.bench --help`.

The servers take turns, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tests.bench.figures import medians
from tests.bench.goals import outcomes
from tests.bench.load.native import LoadError, NativeLoad, compile_library
from tests.bench.machine import describe
from tests.bench.measure import can_do, run_once
from tests.bench.report import as_json, as_markdown, goal_table, scenario_table
from tests.bench.scenarios import SCENARIOS, UnknownScenarioError, select
from tests.bench.servers import Contestant
from tests.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.figures import Results
    from tests.bench.machine import Machine
    from tests.bench.scenarios import Scenario

progress = Console(stderr=True)
WIDTH = 120
"""Of tables, in a terminal or not."""


def bench(
    *,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated. --list shows all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the scenarios behind most goals.")] = False,
    only: Annotated[list[Contestant] | None, typer.Option(help="Only this server; may be repeated.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each server; the tables show medians.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each transfer.")] = 5,
    output: Annotated[Path, typer.Option(help="Directory for the results.")] = Path("bench-results"),
    show: Annotated[bool, typer.Option("--list", help="Say which scenarios there are, and measure nothing.")] = False,
) -> None:
    """Measure Portway and OpenVPN side by side: speed, CPU, latency, handshakes, memory."""
    if show:
        for each in SCENARIOS:
            print(f"{each.name:24}{each.about}")
        return
    if os.geteuid():
        sys.exit("The bench makes network namespaces, so it has to run as root.")
    chosen = select(scenario or (), quick=quick)
    contestants = [contestant for contestant in Contestant if contestant in (only or Contestant)]
    results: Results = {}
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="portway-bench-") as scratch:
        library = compile_library(Path(scratch) / "load_client.so")
        begun = describe(NativeLoad(library).aead)
        progress.print(str(begun))
        for each in chosen:
            able = [contestant for contestant in contestants if can_do(contestant, each.work)]
            if not able:
                continue
            results[each.name] = _measure(each, able, library, runs=runs, seconds=seconds)
            Console(width=WIDTH).print(scenario_table(each, results))
            _write(output, chosen, results, begun)
    print("up: from the client to the network; down: from the network to the client.\n")
    found = medians(results)
    if outcomes(found):
        Console(width=WIDTH).print(goal_table(found))


def _measure(
    scenario: Scenario, contestants: Sequence[Contestant], library: Path, *, runs: int, seconds: float
) -> dict[str, list[dict[str, float]]]:
    figures: dict[str, list[dict[str, float]]] = {contestant.value: [] for contestant in contestants}
    for number in range(runs):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            progress.print(f"{scenario.name}: run {number + 1} of {runs}, {contestant.value} …", style="dim")
            directory = library.parent / f"{scenario.name}-{number}-{contestant.value}"
            figures[contestant.value].append(run_once(contestant, scenario, directory, library, seconds=seconds))
    return figures


def _write(output: Path, scenarios: Sequence[Scenario], results: Results, begun: Machine) -> None:
    """After each scenario, so that a run that is broken off is not lost."""
    stem = output / begun.time.replace(":", "")
    stem.with_suffix(".json").write_text(as_json(scenarios, results, begun, os.getloadavg()))
    stem.with_suffix(".md").write_text(as_markdown(scenarios, results, begun))
    progress.print(f"written to {stem}.json and .md", style="dim")


def main() -> None:
    try:
        typer.run(bench)
    except (LabError, LoadError, UnknownScenarioError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
