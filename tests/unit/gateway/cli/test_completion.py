from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from gateway.cli import app

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
source {script}
COMP_WORDS=({words}); COMP_CWORD={last}
_portway_completion portway
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(directory: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = directory / "completion.bash"
    script.write_text(CliRunner().invoke(app, ["completion", "bash"]).stdout)
    command = directory / "portway"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gateway "$@"\n')
    command.chmod(0o755)
    text = SCRIPT.format(script=script, words=shlex.join(["portway", *words]), last=len(words))
    said = subprocess.run(
        ["bash", "-c", f"PATH={shlex.quote(str(directory))}:$PATH\n{text}"], capture_output=True, text=True, check=True
    )
    return said.stdout.split()


def test_bash_completes_commands_verbs_and_options(tmp_path: Path) -> None:
    assert completed(tmp_path, "secur") == ["security-group"]
    assert completed(tmp_path, "crl", "") == ["create", "show", "delete"]
    assert "--server-certificate" in completed(tmp_path, "endpoint", "create", "--se")


@pytest.mark.parametrize(("shell", "word"), [("zsh", "#compdef portway"), ("fish", "complete --command portway")])
def test_other_shells_have_scripts_of_their_own(shell: str, word: str) -> None:
    assert word in CliRunner().invoke(app, ["completion", shell]).stdout


def test_a_shell_that_is_not_known_is_answered_with_those_that_are() -> None:
    said = CliRunner().invoke(app, ["completion", "csh"])
    assert said.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in said.stderr
