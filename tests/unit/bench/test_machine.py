from __future__ import annotations

from tests.bench.machine import parse_cpu_model


def test_a_processor_is_called_by_its_name() -> None:
    assert (
        parse_cpu_model("processor\t: 0\nmodel\t\t: 6\nmodel name\t: A  CPU @ 2 GHz\nprocessor\t: 1\n")
        == "A CPU @ 2 GHz"
    )


def test_not_every_processor_has_a_name() -> None:
    assert parse_cpu_model("processor\t: 0\nBogoMIPS\t: 50.00\n") == ""
