"""Keeps the generated parts of the documents equal to what they are generated from.

`make docs` rewrites them; `tests/unit/test_documents.py` fails while they differ. A generated part stands between
`<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

from pathlib import Path

from tunnel.key_session import TRANSITIONS, KeyStage

ROOT = Path(__file__).parent.parent


def key_life() -> str:
    """The state table of `tunnel.key_session` as a diagram."""
    first, *_, last = KeyStage
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_label(first)}: reset"]
    lines += [
        f"    {_label(before)} --> {_label(after)}: {step.value}" for (before, step), after in TRANSITIONS.items()
    ]
    lines += [f"    {_label(last)} --> [*]: transition window over", "```"]
    return "\n".join(lines)


PARTS = {"ARCHITECTURE.md": {"key-life": key_life}}


def render(document: str) -> str:
    """A document with its generated parts as they should be."""
    text = (ROOT / document).read_text()
    for name, generate in PARTS[document].items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not begin or not end:
            raise ValueError(f"{document} has no place for {name}")
        text = f"{before}{begin}{generate()}\n{end}{after}"
    return text


def _label(stage: KeyStage) -> str:
    return stage.name.lower()


if __name__ == "__main__":
    for each in PARTS:
        (ROOT / each).write_text(render(each))
