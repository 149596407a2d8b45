"""Groups of commands that are built when one of them is used: a start pays for the command that it runs, not for all."""

from __future__ import annotations

from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_group


class LateGroup(TyperGroup):
    """Has the commands of `family`, whose options are read from their functions only when they are asked for."""

    family: ClassVar[typer.Typer]

    def _build(self) -> None:
        if not self.commands:
            self.commands = get_group(self.family).commands

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands."""
        self._build()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; None when there is none."""
        self._build()
        return super().get_command(ctx, cmd_name)


def build_groups_late(app: typer.Typer) -> None:
    """Replaces the groups of `app`, which have to be complete, by such ones."""
    for group in app.registered_groups:
        if (family := group.typer_instance) is not None:
            late = type("LateGroup", (LateGroup,), {"family": family})
            info = family.info
            group.typer_instance = typer.Typer(cls=late, help=info.help, no_args_is_help=info.no_args_is_help)
