from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.banner import MAX_TEXT, TITLE, banner_options

WINDOW = f'echo "msg-window {TITLE}"'
COMMAND = re.compile(r'echo (?:msg|"(msg|msg-n|msg-window) ([^",\\%]|%[0-9A-F]{2})+")')


def shown(options: list[str]) -> list[str]:
    """The lines that a user interface shows, by the rules of OpenVPN's doc/gui-notes.txt."""
    text = ""
    for option in options:
        command, _, rest = option.removeprefix("echo ").strip('"').partition(" ")
        if command == "msg-window":
            return text.removesuffix("\n").split("\n")
        text += unquote(rest, errors="strict") + ("\n" if command == "msg" else "")
    return []


@pytest.mark.parametrize("empty", ["", " ", "\n\n"])
def test_no_text_is_nothing_to_push(empty: str) -> None:
    assert list(banner_options(empty)) == []


def test_a_line_is_a_command_and_the_window_comes_last() -> None:
    assert list(banner_options("For work only.\n\nBe kind.\n")) == [
        'echo "msg For work only."',
        "echo msg",
        'echo "msg Be kind."',
        WINDOW,
    ]


def test_a_long_line_comes_in_pieces_of_whole_characters() -> None:
    line = 300 * "é"
    *pieces, end, window = banner_options(line)
    assert len(pieces) > 1
    assert all(piece.startswith('echo "msg-n ') for piece in pieces)
    assert end.startswith('echo "msg ')
    assert window == WINDOW
    assert shown([*pieces, end, window]) == [line]


@pytest.mark.parametrize(
    "hostile",
    [
        'a",route 0.0.0.0 0.0.0.0',
        "a,auth-token stolen",
        'a\\" push-continuation 2',
        "100% %2C %0A",
        "a # comment ; comment 'quoted' `command` $HOME",
    ],
)
def test_what_means_something_to_a_client_is_only_text(hostile: str) -> None:
    options = list(banner_options(hostile))
    assert all(COMMAND.fullmatch(option) for option in options)
    assert shown(options) == [hostile]


def test_control_characters_are_left_out() -> None:
    assert shown(list(banner_options("a\x00b\x1b[31mc\td\x7f"))) == ["ab[31mc\td"]


@given(st.text(max_size=1400))
def test_any_text_becomes_options_that_every_client_reads(text: str) -> None:
    options = list(banner_options(text))
    assert all(COMMAND.fullmatch(option) for option in options)
    assert all(len(option) <= MAX_TEXT + len('echo "msg-n "') < 255 for option in options)
    assert bool(options) == bool(text.strip())


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=300))
def test_what_is_shown_is_what_was_written(text: str) -> None:
    if text.strip():
        assert shown(list(banner_options(text))) == [text.rstrip()]
