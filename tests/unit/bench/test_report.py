from __future__ import annotations

import json
import re

from rich.console import Console

from tests.bench.figures import medians
from tests.bench.machine import Machine
from tests.bench.report import as_json, as_markdown, goal_rows, goal_table, header_of, rows_of, scenario_table
from tests.bench.scenarios import select

MACHINE = Machine(
    time="2030-01-01T00:00:00+00:00",
    cpu="A Processor",
    cores=2,
    kernel="6.1",
    python="3.11",
    cryptography="47",
    portway="0.1.0 (abc)",
    aead="libcrypto",
    openvpn="2.6.14",
    load_average=(0.5, 0.4, 0.3),
)
RESULTS = {
    "tcp": {
        "native": [{"up.cpu_s_per_gb": 1.0}, {"up.cpu_s_per_gb": 3.0}, {"up.cpu_s_per_gb": 1.5}],
        "openvpn": [{"up.cpu_s_per_gb": 7.0}, {"up.cpu_s_per_gb": 6.0}, {"up.cpu_s_per_gb": 5.0}],
    }
}
SCENARIOS = select(["tcp", "crowd"])


def test_a_row_has_values_unit_and_ratios() -> None:
    servers = {"native": {"up.kpps": 1000.0}, "python": {"up.kpps": 150.0}, "openvpn": {"up.kpps": 200.0}}
    assert rows_of(servers) == [["up: packets, k/s", "1,000", "150", "200", "5.00", "0.75"]]
    assert header_of(servers) == ["", "native", "python", "openvpn", "native ratio", "python ratio"]


def test_there_are_no_ratios_without_openvpn() -> None:
    servers = {"native": {"up.kpps": 1000.0}}
    assert rows_of(servers) == [["up: packets, k/s", "1,000"]]
    assert header_of(servers) == ["", "native"]


def test_a_ratio_to_nothing_is_left_out() -> None:
    assert rows_of({"native": {"lost": 3.0}, "openvpn": {"lost": 0.0}}) == [["pings lost", "3", "0", "-"]]


def test_tables_say_how_many_runs_and_whether_goals_are_met() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(scenario_table(SCENARIOS[0], RESULTS))
        console.print(goal_table(medians(RESULTS)))
    said = captured.get()
    assert "(AES-256-GCM over udp, medians of 3)" in " ".join(said.split())
    assert "1.50" in said
    assert re.search(r"1/4 .* at most 1/4 .* met", said)


def test_a_goal_stands_beside_what_it_is_compared_with() -> None:
    found = {
        "tcp": {"native": {"up.mbit_per_s": 1500.0}, "openvpn": {"up.mbit_per_s": 1000.0}},
        "load-tcp": {"native": {"up.mbit_per_s": 5500.0}, "openvpn": {"up.mbit_per_s": 1200.0}},
        "latency": {"native": {"idle.p99_ms": 0.25, "busy.p99_ms": 0.75}, "openvpn": {"busy.p99_ms": 2.0}},
        "crowd": {"native": {"pss_kb": 61.0}},
    }
    assert [row[1:] for row in goal_rows(found)] == [
        ["5,500", "-", "1,000", "5.5×", "at least 6×", "missed"],  # noqa: RUF001
        ["0.750", "-", "2.000", "0.5", "at most 1", "met"],
        ["61.0", "-", "-", "61", "at most 60", "missed"],
    ]


def test_markdown_has_the_machine_the_goals_and_what_was_measured() -> None:
    said = as_markdown(SCENARIOS, RESULTS, MACHINE)
    assert "A Processor, 2 cores, Linux 6.1" in said
    assert "| up: server CPU, s/GB | 1.50 | 6.00 | 0.25 |" in said
    assert "crowd" not in said
    for table in said.split("\n\n"):
        widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, table


def test_json_has_every_run() -> None:
    document = json.loads(as_json(SCENARIOS, RESULTS, MACHINE, (1.0, 0.5, 0.25)))
    assert document["runs"] == RESULTS
    assert document["medians"]["tcp"]["openvpn"] == {"up.cpu_s_per_gb": 6.0}
    assert document["machine"]["cores"] == 2
    assert document["load_average_at_the_end"] == [1.0, 0.5, 0.25]
    assert [scenario["name"] for scenario in document["scenarios"]] == ["tcp"]
