"""`cauce topics acls`: who may read and write what on Kafka."""

from __future__ import annotations

from typing import Annotated

import typer

from cauce.commands.common import ConfigOption, DataOption, JsonOption, print_json, settings_of
from cauce.commands.families import Family
from cauce.commands.operate import topics
from cauce.plain_output import say_line


def register(app: typer.Typer) -> None:
    """Adds the command to `cauce topics`."""
    topics.command()(acls)


FAMILY = Family(register, rank=41)

PrincipalOption = Annotated[
    list[str] | None,
    typer.Option("--principal", help="ROLE=PRINCIPAL, such as turns=User:CN=turns; User:ROLE by default. Repeatable."),
]
RoleOption = Annotated[list[str] | None, typer.Option("--role", help="Only this role; repeatable.")]


def acls(
    role: RoleOption = None,
    principal: PrincipalOption = None,
    apply: Annotated[bool, typer.Option("--apply", help="Allow it on the Kafka of the settings.")] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Print what each role must be allowed on Kafka, and with --apply allow it; safe to repeat.

    Roles are the processor groups, gateway, sources (event sources), chat-client, and operator, for these commands. Nothing is
    taken away: remove what a role no longer needs with Kafka's own tools.
    """
    import asyncio

    from cauce.operator_notes import note
    from processors.groups import GROUPS
    from schemas import Action, SettingsError
    from streams import access_rules

    known = access_rules.roles(GROUPS)
    given = dict(one.partition("=")[::2] for one in principal or ())
    wanted = list(dict.fromkeys(role or known))
    if unknown := [name for name in (*wanted, *given) if name not in known]:
        raise SettingsError(f"there is no role {unknown[0]!r}; the roles are {', '.join(known)}")
    reads = {name: group.reads for name, group in GROUPS.items()}
    found: dict[str, list[access_rules.Rule]] = {}
    for name in wanted:
        found.setdefault(given.get(name) or f"User:{name}", []).extend(access_rules.rules(name, reads))
    if as_json:
        print_json(
            [
                {
                    "principal": who,
                    "resource": rule.resource.name.lower(),
                    "name": rule.name,
                    "pattern": "prefixed" if rule.prefix else "literal",
                    "operations": [operation.name.lower() for operation in rule.operations],
                }
                for who, rules in found.items()
                for rule in rules
            ]
        )
    else:
        for who, rules in found.items():
            for rule in rules:
                resource = rule.resource.name.lower().replace("_", " ")
                name = f"{rule.name}{'*' if rule.prefix else ''}"
                operations = ", ".join(operation.name.lower().replace("_", " ") for operation in rule.operations)
                say_line(f"{who:20} {resource:16} {name:20} {operations}")
    if apply:
        kafka = settings_of(data, config).kafka_servers

        async def allow() -> int:
            count = await access_rules.allow(kafka, found)
            await note(kafka, Action.ACCESS_RULES_APPLIED, roles=wanted, principals=list(found), entries=count)
            return count

        count = asyncio.run(allow())
        say_line(f"allowed: {count} entries", err=as_json)
