"""From a line of `[graphs]` to the Python object that it names."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from schemas import SettingsError


def load(name: str, spec: str, folder: Path) -> tuple[Any, ModuleType]:
    """The object of `module:object` or `./path/file.py:object`, and its module. Paths are relative to the folder.

    The folder and the file's own folder are importable afterwards, last of all. Raises `SettingsError` in words.
    """
    place, colon, path = spec.rpartition(":")
    if not (colon and place and path):
        raise _wrong(name, spec, "it is not of the form module:object or ./path/file.py:object", "Write it like that.")
    _importable(folder.resolve())
    module = _of_file(name, spec, place, folder) if place.endswith(".py") else _of_module(name, spec, place)
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            there = ", ".join(sorted(n for n in vars(module) if not n.startswith("_")))[:300]
            raise _wrong(name, spec, f"{place} has no {path!r}", f"It has: {there or 'nothing'}.") from None
    return found, module


def _of_module(name: str, spec: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            what = f"there is no module {error.name!r}"
            raise _wrong(name, spec, what, "Install it, or name the file: ./path/file.py:object.") from None
        raise _fails(name, spec, error) from error
    except (Exception, SystemExit) as error:
        raise _fails(name, spec, error) from error


def _of_file(name: str, spec: str, place: str, folder: Path) -> ModuleType:
    file = (folder / place).resolve()
    if not file.is_file():
        raise _wrong(name, spec, f"there is no file {file}", "Paths are relative to the folder of cauce.toml.")
    _importable(file.parent)
    try:
        if module := _already_a_module(file, folder.resolve()):
            return module
        # The same name in every process, wherever the folder is: types of the state are stored with their module's name.
        module_name = "cauce_graph_" + re.sub(r"\W", "_", place.removesuffix(".py").lstrip("./\\"))
        if (there := sys.modules.get(module_name)) and there.__file__ == str(file):
            return there
        found = importlib.util.spec_from_file_location(module_name, file)
        assert found
        assert found.loader
        module = importlib.util.module_from_spec(found)
        sys.modules[module_name] = module
        try:
            found.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        return module
    except (Exception, SystemExit) as error:
        raise _fails(name, spec, error) from error


def _already_a_module(file: Path, folder: Path) -> ModuleType | None:
    """The file under the name by which others import it, so that there is one of it; None where it has no such name."""
    try:
        parts = file.relative_to(folder).with_suffix("").parts
    except ValueError:
        return None
    if not all(part.isidentifier() for part in parts):
        return None
    dotted = ".".join(parts)
    try:
        found = importlib.util.find_spec(dotted)
    except (ImportError, AttributeError, ValueError):
        return None
    if found is None or found.origin is None or Path(found.origin).resolve() != file:
        return None
    return importlib.import_module(dotted)


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _fails(name: str, spec: str, error: BaseException) -> SettingsError:
    last = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
    at = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return _wrong(name, spec, f"its import fails: {last}{at}", "Correct the code, or install what it needs.")


def _wrong(name: str, spec: str, what: str, then: str) -> SettingsError:
    return SettingsError(f"the graph {name!r} ({spec}) cannot be loaded: {what}. {then}")
