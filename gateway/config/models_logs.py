"""The sections of `config.toml` about logs: the daemon's own, and where records of connections go.

As in `models`, which these are part of: the docstring of a field is what a person is told who leaves it out.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from gateway.config.problems import WrongValue
from gateway.config.section import Section
from gateway.config.values import LogGroupName, OneLine, Seconds, shown
from policy import DEFAULT_LOG_GROUP

__all__ = ["ConnectionLog", "EndpointConnectionLog", "Log", "LogGroup"]


class Log(Section):
    """`[gateway.log]`: the daemon's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""
    format: Literal["console", "json"] = "console"
    """For people, or for machines."""


class LogSinks(Section):
    """Where records of connections go."""

    file: OneLine = ""
    """The file, relative to state_dir; empty for none."""
    rotate_mib: Annotated[int, Field(ge=0, le=1024 * 1024)] = 100
    """The size that the file is rotated at; 0 never rotates."""
    rotate_keep: Annotated[int, Field(ge=0, le=1000)] = 10
    """How many rotated files are kept."""
    stdout: bool = False
    """Whether every line goes to standard output too."""
    journal: bool = False
    """Whether every line goes to the systemd journal too."""


class ConnectionLog(LogSinks):
    """`[gateway.connection_log]`: who connected, who failed to, and what they moved; the log group "default"."""

    file: OneLine = "connections.log"
    """The file, relative to state_dir; empty for none."""
    refresh_s: Seconds = 60
    """How often the counters of a running session are logged anew."""


class LogGroup(LogSinks):
    """`[[log_group]]`: another place for the records of endpoints that name it."""

    name: LogGroupName
    """What endpoints call it, as "audit"."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name == DEFAULT_LOG_GROUP:
            raise WrongValue(f"{shown(name)} is that of [gateway.connection_log]; choose another name")
        return name

    @model_validator(mode="after")
    def _check_purpose(self) -> Self:
        if not (self.file or self.stdout or self.journal):
            raise WrongValue("has no place to write to; name a file, or say journal = true or stdout = true")
        return self


class EndpointConnectionLog(Section):
    """`[endpoint.connection_log]`: where the records of its connections go."""

    enabled: bool = True
    """Whether a log group gets them."""
    group: LogGroupName = DEFAULT_LOG_GROUP
    """The log group: "default", which is [gateway.connection_log], or the name of a [[log_group]]."""
    stream: Annotated[OneLine, Field(max_length=512)] = ""
    """What records are marked with in it; empty for the endpoint's id."""
