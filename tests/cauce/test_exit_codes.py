"""What fails ends a command with the code of its kind, and says so in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cauce import cli
from cauce.exit_codes import MEANING, WHAT_NEXT, Exit, codes, error_line
from cauce.running import NotRunning
from connectors.gateway.problems import STATUS
from core.refusals import Missing, Refused, not_found
from schemas import NotFound, OutcomeUnknown, SettingsError, Unavailable

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"


def kinds(of: type[Refused]) -> set[type[Refused]]:
    """The kinds of refusals that use cases have."""
    below = [kind for kind in of.__subclasses__() if kind.__module__ == "core.refusals"]
    return set(below).union(*(kinds(kind) for kind in below))


def test_every_refusal_has_a_status_and_an_exit_code() -> None:
    known = codes()
    for kind in kinds(Refused):
        assert set(kind.__mro__) & STATUS.keys(), kind
        assert (set(kind.__mro__) & known.keys()) - {Exception}, kind


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (not_found("tenant", "x"), 1),
        (NotFound("x"), 1),
        (Unavailable("x"), 1),
        (OutcomeUnknown("x"), 1),
        (ValueError("x"), 1),
        (SettingsError("x"), 2),
        (NotRunning("x"), 3),
    ],
)
def test_kinds_of_failures_have_codes_that_scripts_can_tell_apart(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"cauce: {error_line(error)}"


def test_a_refusal_says_what_a_person_at_a_terminal_does_then() -> None:
    assert error_line(not_found("tenant", "x")) == "there is no tenant 'x'; list them with: cauce tenant list"
    assert error_line(Missing("other", "It is gone.")) == "it is gone"
    for command in WHAT_NEXT.values():
        helped = CliRunner().invoke(cli.app, [*command.partition("cauce ")[2].split(), "--help"])
        assert helped.exit_code == 0, command


def test_the_help_and_the_documentation_have_all_codes() -> None:
    helped = " ".join(CliRunner().invoke(cli.app, ["--help"]).stdout.split())
    documented = OPERATIONS.read_text()
    for code in Exit:
        assert f"{code:d} {MEANING[code]}" in helped
        assert f"| {code:d} | {MEANING[code]} |" in documented
