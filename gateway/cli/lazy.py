"""Commands whose modules are imported when they are asked for, and not before.

A gateway, a database and AWS's models take more than a second to import. Of a command, its name and a line of text are
enough for `portway --help` and for a shell that completes words. Must not know any command.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gateway.cli.options import examples
from gateway.openssl_settings import load_openssl

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Command", "group_of"]


@dataclass(frozen=True, slots=True)
class Command:
    """A command or a group of some, and where it is."""

    where: str
    """The module, and the function or the `typer.Typer` in it: `gateway.cli.serve:serve`."""
    summary: str
    """The first sentence of its help."""
    examples: tuple[str, ...] = ()
    """Command lines to copy; those of a group are its own."""

    def load(self, name: str) -> TyperCommand | TyperGroup:
        """Import it."""
        load_openssl()  # before the module does
        module, _, attribute = self.where.partition(":")
        found = getattr(import_module(module), attribute)
        parent = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=name, no_args_is_help=True)
        else:
            parent.command(name, epilog=examples(*self.examples))(found)
        loaded = typer.main.get_group(parent).commands[name]
        assert isinstance(loaded, TyperCommand | TyperGroup)  # noqa: S101 - for mypy: typer makes nothing else
        return loaded


class _Lazy(TyperCommand):
    """Stands for a command until words are given to it."""

    def __init__(self, name: str, command: Command) -> None:
        super().__init__(name, help=command.summary)
        self._command = command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Begin the real one."""
        return self._command.load(str(self.name)).make_context(info_name, args, parent, **extra)


def group_of(commands: Mapping[str, Command]) -> type[TyperGroup]:
    """The class of a group that has these commands, in their order."""

    class Group(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, command in commands.items():
                self.add_command(_Lazy(name, command))

    return Group
