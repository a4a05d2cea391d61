"""What is wrong with log groups beside each other, and with endpoints that name them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.problems import Problem
from gateway.config.values import nearest, shown
from policy import DEFAULT_LOG_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import models

__all__ = ["log_group_problems"]


def log_group_problems(file: models.ConfigFile) -> Iterator[Problem]:
    """All problems of this kind."""
    yield from _beside_each_other(file)
    known = [DEFAULT_LOG_GROUP, *(group.name for group in file.log_group)]
    for index, endpoint in enumerate(file.endpoint):
        log = endpoint.connection_log
        if log.enabled and log.group not in known:
            yield Problem(
                f"endpoint[{index}].connection_log.group",
                f"There is no log group {shown(log.group)}. {_advice(log.group, known)}",
                f"endpoint {shown(endpoint.name)}",
            )


def _beside_each_other(file: models.ConfigFile) -> Iterator[Problem]:
    """Names must differ. A file may be that of two groups, but not be rotated in two ways."""
    paths = [f"log_group[{index}]" for index in range(len(file.log_group))]
    named = zip(paths, (group.name for group in file.log_group), strict=True)
    for (earlier, taken), (path, name) in combinations(named, 2):
        if name == taken:
            yield Problem(f"{path}.name", f"{earlier} has this name, too. Give each a name of its own.")
    sinks = [("gateway.connection_log", file.gateway.connection_log), *zip(paths, file.log_group, strict=True)]
    for (earlier, one), (path, other) in combinations(sinks, 2):
        is_same = bool(other.file) and Path(one.file) == Path(other.file)
        if is_same and (one.rotate_mib, one.rotate_keep) != (other.rotate_mib, other.rotate_keep):
            yield Problem(
                f"{path}.file",
                f"It is the file of {earlier}, too, with another rotate_mib or rotate_keep. "
                "Make them the same, or write to another file.",
            )


def _advice(name: str, known: list[str]) -> str:
    near = nearest(name, known)
    if near is not None:
        return f"Did you mean {shown(near)}?"
    return f"Declare it as a [[log_group]], or use one of these: {', '.join(map(shown, known))}."
