"""The emulated Arcade, Gmail and Asana, used when no Arcade key is set."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cauce.program import Program, basic_variables, run_folder
from cauce.settings import Settings
from connectors.arcade import ArcadeSettings


def _arguments(settings: Settings) -> Sequence[str]:
    file = str(run_folder(settings.data) / PROGRAM.file)
    return ("connectors.emulators", "--data", str(settings.data / "emulators"), "--port-file", file)


PROGRAM = Program(
    name="emulators",
    arguments=_arguments,
    file="emulators.json",
    address=lambda text: json.loads(text)["base_url"],
    after=("broker",),
    wanted=lambda settings: settings.of(ArcadeSettings).api_key is None,
    variables=basic_variables,
    stop_seconds=5,
)
