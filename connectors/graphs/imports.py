"""Loads the Python object that a line of `[graphs]` names."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from connectors.graphs import applications
from connectors.graphs.applications import APPLICATIONS, file_of, name_of_file
from schemas import SettingsError


def load(what: str, spec: str, folder: Path, dependencies: Sequence[Path] = ()) -> tuple[Any, ModuleType]:
    """The object of `module:object` or `./path/file.py:object`, and its module. Paths are relative to the folder; error messages
    begin with `what`.

    Afterwards the folder, the dependencies and the file's own folder are importable, at the end of the path. Raises
    `SettingsError`.
    """
    place, colon, path = spec.rpartition(":")
    if not (colon and place and path):
        raise _wrong(
            what,
            spec,
            "it is not of the form module:object or ./path/file.py:object",
            "Write it in one of these forms.",
        )
    for root in (folder, *dependencies):
        APPLICATIONS.add(root)
    is_file = place.endswith(".py")
    module = _of_file(what, spec, place, folder) if is_file else _of_module(what, spec, place, (folder, *dependencies))
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            there = ", ".join(sorted(n for n in vars(module) if not n.startswith("_")))[:300]
            raise _wrong(what, spec, f"{place} has no {path!r}", f"It has: {there or 'nothing'}.") from None
    return found, module


def _of_module(what: str, spec: str, place: str, roots: Sequence[Path]) -> ModuleType:
    place = APPLICATIONS.actual(place, None, roots)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            why = f"there is no module {error.name!r}"
            raise _wrong(what, spec, why, "Install it, or name the file: ./path/file.py:object.") from None
        raise _fails(what, spec, error) from error
    except BaseException as error:  # `sys.exit` and panics of extensions, too
        raise _fails(what, spec, error) from error


def _of_file(what: str, spec: str, place: str, folder: Path) -> ModuleType:
    folder = folder.resolve()
    file = file_of(folder / place)
    if not file.is_file():
        raise _wrong(what, spec, f"there is no file {file}", "Paths are relative to the folder of the settings file.")
    APPLICATIONS.add(file.parent, home=True)
    names = (os.path.relpath(file, folder), place, str(file))
    try:
        return APPLICATIONS.module(file, *map(name_of_file, names))
    except BaseException as error:  # `sys.exit` and panics of extensions, too
        raise _fails(what, spec, error) from error


def _fails(what: str, spec: str, error: BaseException) -> SettingsError:
    last = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, applications.__file__)
    own = [f for f in frames if "importlib" not in f.filename and f.filename not in ours]
    at = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    if isinstance(error, SyntaxError) and error.filename:
        at = f" ({error.filename}, line {error.lineno})"
    return _wrong(what, spec, f"its import fails: {last}{at}", "Correct the code, or install what it needs.")


def _wrong(what: str, spec: str, why: str, then: str) -> SettingsError:
    return SettingsError(f"{what} ({spec}) cannot be loaded: {why}. {then}")
