"""The modules of the installation's own graphs: each finds those of its own folders, whatever they are called.

A folder of the settings (a root) is importable as on Python's path. Where a name there is taken, by a package of Cauce's or by
somebody else's, its modules get a package of their own that exists in `sys.modules` only. Modules beside a graph's file are named
from the root (`flat.tools`), so that two folders may have a `tools.py` each. A module below a root has an `__import__` of its
own, which gives it what its names mean there, also inside functions. Names in strings (`importlib.import_module("tools")`) are
looked up on Python's path, on which the folders come last.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import schemas

_CAUCE = Path(schemas.__file__).resolve().parents[1]
_OURS = frozenset({"cauce", "connectors", "core", "processors", "schemas", "state", "streams", "threads"})
_PACKAGE = "_cauce_app"


class Applications(MetaPathFinder):
    """The folders of one process. The process has one of it, `APPLICATIONS`."""

    def __init__(self) -> None:
        self._roots: dict[Path, str] = {}
        """Folders, and the package of each for names that are taken."""
        self._homes: set[Path] = set()
        """Folders of graphs' files."""
        self._plain: dict[tuple[Path, str], bool] = {}

    def add(self, folder: Path, *, home: bool = False) -> None:
        """Makes a folder importable, last of all: a root, or with `home` the folder of a graph's file."""
        folder = folder.resolve()
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
            importlib.invalidate_caches()
        if home:
            self._homes.add(folder)
        if folder not in self._roots and not (home and self._dotted(folder)):
            self._roots[folder] = f"{_PACKAGE}{len(self._roots) or ''}"
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def module(self, file: Path, name: str) -> ModuleType:
        """Imports a file, once. `name` is for one that no dotted name leads to. Raises what its code raises."""
        file = file.resolve()
        outside = self._root(file) == file.parent
        if dotted := self._dotted(file.with_suffix("")):
            found = importlib.import_module(dotted)
            if outside:
                sys.modules.setdefault(name, found)  # types were stored under this name, too
            return found
        if (there := sys.modules.get(name)) and there.__file__ == str(file):
            return there
        spec = importlib.util.spec_from_file_location(name, file, loader=_Loader(name, str(file), self))
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    def actual(self, name: str, file: Path | None, roots: Sequence[Path] = ()) -> str:
        """What a dotted name in this file means: itself, or a module of the folders that the file is in. Without a file the
        folders are `roots`."""
        top, dot, rest = name.partition(".")
        for folder in self._search(file) if file else [root.resolve() for root in roots]:
            if self._has(folder, top):
                found = self._dotted(folder / top)
                return f"{found}{dot}{rest}" if found else name
        return name

    def beside(self, module: ModuleType) -> Iterator[tuple[str, ModuleType]]:
        """What is loaded of the modules of an application, given one of them: those of its root, or of its package where it is an
        installed one. With the names that they have, of which one may have two."""
        file = getattr(module, "__file__", None)
        root = self._root(Path(file).resolve()) if file and is_own(module) else None
        package = module.__name__.partition(".")[0] + "."
        for name, found in list(sys.modules.items()):
            place = getattr(found, "__file__", None)
            in_root = root is not None and place and is_own(found) and root in Path(place).parents
            if found is module or in_root or (root is None and name.startswith(package)):
                yield name, found

    def also_called(self, module: ModuleType, file: Path) -> None:
        """Makes a module that is imported known by the name that Python's path has for it, too, where it is beside a graph's
        file: types may be stored under that, and names in strings mean it."""
        place = file.parent if file.name == "__init__.py" else file.with_suffix("")
        for home in place.parents:
            if home in self._homes and home not in self._roots:
                parts = place.relative_to(home).parts
                if all(part.isidentifier() for part in parts) and self._is_plain(home, parts[0]):
                    sys.modules.setdefault(".".join(parts), module)

    # What Python asks

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """See `MetaPathFinder`."""
        top = fullname.partition(".")[0]
        for folder, package in self._roots.items():
            if fullname == package:
                spec = ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations = [str(folder)]
                return spec
            if top == package or (
                top not in sys.stdlib_module_names and self._has(folder, top) and self._is_plain(folder, top)
            ):
                found = PathFinder.find_spec(fullname, path)
                return self._own(found)
        return None

    def _own(self, spec: ModuleSpec | None) -> ModuleSpec | None:
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.name, spec.loader.path, self)
        return spec

    # Names

    def _search(self, file: Path) -> list[Path]:
        """Where names of a file are looked up: the folders of graphs that it is in, the nearest first, its root, other roots."""
        root = self._root(file)
        homes = [folder for folder in file.parents if folder in self._homes and folder != root]
        return [*homes, *([root] if root else []), *(other for other in self._roots if other != root)]

    def _root(self, place: Path) -> Path | None:
        around = [root for root in self._roots if root == place or root in place.parents]
        return max(around, key=lambda root: len(root.parts), default=None)

    def _dotted(self, place: Path) -> str | None:
        """The name of a module, by the path of its file without suffix; None where there can be none."""
        for root in sorted(self._roots, key=lambda root: -len(root.parts)):
            if root in place.parents:
                parts = place.relative_to(root).parts
                if all(part.isidentifier() for part in parts):
                    plain = parts[0] not in sys.stdlib_module_names and self._is_plain(root, parts[0])
                    return ".".join(parts if plain else (self._roots[root], *parts))
        return None

    def _has(self, folder: Path, top: str) -> bool:
        """Whether a name means a module of the folder there. As on a path, the standard library comes first, and a folder without
        `__init__.py` last."""
        if top in sys.stdlib_module_names or (folder == _CAUCE and top in _OURS):
            return False
        if (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file():
            return True
        return (folder / top).is_dir() and (top in _OURS or self._is_plain(folder, top))

    def _is_plain(self, folder: Path, top: str) -> bool:
        """Whether Python's path leads to the folder's module by this name."""
        if (folder, top) not in self._plain:
            self._plain[folder, top] = self._leads_to(folder, top)
        return self._plain[folder, top]

    def _leads_to(self, folder: Path, top: str) -> bool:
        if top in _OURS and folder != _CAUCE:
            return False
        own = {str(folder / f"{top}.py"), str(folder / top / "__init__.py"), str(folder / top)}
        there = sys.modules.get(top)
        spec = there.__spec__ if there else PathFinder.find_spec(top)
        if spec is None:
            return False
        found = {spec.origin} if spec.origin else set(spec.submodule_search_locations or ())
        return {str(Path(place).resolve()) for place in found if place} <= own and bool(found)


class _Loader(SourceFileLoader):
    """Runs a module with an `__import__` of its own."""

    def __init__(self, fullname: str, path: str, applications: Applications) -> None:
        super().__init__(fullname, path)
        self._applications = applications

    def exec_module(self, module: ModuleType) -> None:
        """See `SourceFileLoader`."""
        file = Path(self.path).resolve()
        own = _import_of(file, self._applications)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": own}
        self._applications.also_called(module, file)
        super().exec_module(module)


def _import_of(file: Path, applications: Applications) -> Callable[..., Any]:
    known: dict[str, str] = {}

    def own_import(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> Any:
        if level:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        top, dot, rest = name.partition(".")
        if top not in known:
            known[top] = applications.actual(top, file)
        if (actual := known[top]) == top:
            return builtins.__import__(name, globals, locals, fromlist or (), 0)
        found = builtins.__import__(f"{actual}{dot}{rest}", globals, locals, fromlist or (), 0)
        return found if fromlist else sys.modules[actual]  # `import a.b` binds a

    return own_import


def is_own(module: ModuleType) -> bool:
    """Whether the module is of a folder of the settings."""
    return isinstance(getattr(getattr(module, "__spec__", None), "loader", None), _Loader)


APPLICATIONS = Applications()


def name_of_file(place: str) -> str:
    """The name of a graph's file that has none of its own: the same in every process, since types are stored with it."""
    return "cauce_graph_" + re.sub(r"\W", "_", place.removesuffix(".py").lstrip("./\\"))
