from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.core import TyperGroup
from typer.testing import CliRunner

from gateway.cli import COMMANDS, app

HEAVY = (
    "gateway.config",
    "gateway.api",
    "gateway.store",
    "policy",
    "tunnel",
    "trio",
    "botocore",
    "pyroute2",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_sentence_of_the_command_s_own_help(name: str) -> None:
    loaded = COMMANDS[name].load(name)
    assert loaded.help
    assert " ".join(loaded.help.split("\n\n")[0].split()) == COMMANDS[name].summary


def pages() -> list[tuple[str, ...]]:
    """The words of every command that does something."""
    found: list[tuple[str, ...]] = []
    for name, command in COMMANDS.items():
        loaded = command.load(name)
        found += [(name, verb) for verb in loaded.commands] if isinstance(loaded, TyperGroup) else [(name,)]
    return [words for words in found if words[0] != "pki"]  # whose examples are those of the group


@pytest.mark.parametrize("words", [*pages(), ("pki",)], ids=" ".join)
def test_every_command_shows_command_lines_to_copy(words: tuple[str, ...]) -> None:
    help_text = CliRunner().invoke(app, [*words, "--help"]).stdout
    assert f"  portway {' '.join(words)}" in help_text.partition("Examples:")[2]


COMPLETING = {"_PORTWAY_COMPLETE": "complete_bash", "COMP_WORDS": "portway s", "COMP_CWORD": "1"}


@pytest.mark.parametrize(("words", "environment"), [(["--help"], {}), ([], COMPLETING)], ids=["help", "completion"])
def test_the_list_of_commands_imports_none_of_them(words: list[str], environment: dict[str, str]) -> None:
    code = (
        "import os, sys; from gateway.cli import app\n"
        f"try: app({words!r}, prog_name='portway')\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert "security-group" in said.stdout
    assert said.stderr.splitlines()[-1] == "[]"


def test_a_word_that_is_almost_a_command_is_answered_with_it() -> None:
    said = CliRunner().invoke(app, ["endpont", "list"])
    assert said.exit_code == 2
    assert "Did you mean 'endpoint'" in said.stderr
