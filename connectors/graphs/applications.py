"""The modules of the installation's own graphs: each finds those of its own folders, whatever they are called.

A folder of the settings (a root) is importable as on Python's path. Where a name there is taken, by a package of Cauce's or by
somebody else's, its modules get a package of their own that exists in `sys.modules` only. Modules beside a graph's file are named
from the root (`flat.tools`), so that two folders may have a `tools.py` each. What a name means in a file below a root is decided
by `__import__`, also inside functions. Names in strings (`importlib.import_module("tools")`) are looked up on Python's path, on
which the folders come last. A file is one module, by whatever name it is asked for; types are stored with the name, so that
it does not depend on what was loaded before.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import schemas

_CAUCE = Path(schemas.__file__).resolve().parents[1]
_OURS = frozenset({"cauce", "connectors", "core", "processors", "schemas", "state", "streams", "threads"})
_PACKAGE = "_cauce_app"
_LIBRARIES = frozenset({"site-packages", "dist-packages"})
_STDLIB = Path(sysconfig.get_path("stdlib")).resolve()


class Applications(MetaPathFinder):
    """The folders of one process. The process has one of it, `APPLICATIONS`."""

    def __init__(self) -> None:
        self._roots: dict[Path, str] = {}
        """Folders, and the package of each for names that are taken. Replaced, never changed: other threads import meanwhile."""
        self._homes: set[Path] = set()
        """Folders of graphs' files."""
        self._numbered: dict[Path, str] = {}
        """The package that each root had in a version before, by the order of the settings: types were stored with it."""
        self._apart: set[Path] = set()
        """Roots that are only some graph's: what Python's path has of several of them depends on which was loaded first, and so
        names there always have the package."""
        self._plain: dict[tuple[Path, str], bool] = {}
        self._known: dict[str, dict[str, str] | None] = {}
        """By file of a module: what names mean there, None for a file that is not the applications'."""

    def add(self, folder: Path, *, home: bool = False) -> None:
        """Makes a folder importable, last of all: a root, or with `home` the folder of a graph's file."""
        folder = folder.resolve()
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
            importlib.invalidate_caches()
        if home:
            self._homes = self._homes | {folder}
        if folder not in self._roots and not (home and self._dotted(folder)):
            self._apart |= {folder} if home else set()
            self._numbered = {**self._numbered, folder: f"{_PACKAGE}{len(self._numbered) or ''}"}
            self._add_root(folder)
            for entry in map(Path, list(sys.path)):  # such as the `src` of a project that is installed where it lies
                if folder in entry.parents and self._is_own(entry) and not home:
                    self._add_root(entry)
        self._known = {}
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
            builtins.__import__ = _import

    def _add_root(self, folder: Path) -> None:
        if folder not in self._roots and folder not in self._homes - self._apart:
            first = next(iter(self._roots), folder)
            below = "" if folder == first else "_" + _identifier(os.path.relpath(folder, first))
            self._roots = {**self._roots, folder: _PACKAGE + below}
            self._known = {}

    def module(self, file: Path, *names: str) -> ModuleType:
        """Imports a file, once. `names` are for one that no dotted name leads to: the first is its own, types may be stored under
        the others. Raises what its code raises."""
        if dotted := self._dotted(file.with_suffix("")):
            found = importlib.import_module(dotted)
            names = names if self._root(file) == file.parent else ()
        elif (there := sys.modules.get(names[0])) and there.__file__ == str(file):
            return there
        else:
            found = _executed(file, names[0])
        for name in names:
            sys.modules.setdefault(name, found)
        return found

    def actual(self, name: str, file: Path | None, roots: Sequence[Path] = ()) -> str:
        """What a dotted name in this file means: itself, or a module of the folders that the file is in. Without a file the
        folders are `roots`."""
        top, dot, rest = name.partition(".")
        for folder in self._search(file, top) if file else [root.resolve() for root in roots]:
            if self._has(folder, top):
                found = self._dotted(folder / top)
                return f"{found}{dot}{rest}" if found else name
        return name

    def meant(self, top: str, file: str) -> str:
        """What the first part of a name means in the module of this file."""
        if file not in self._known:
            self._known[file] = {} if self._is_own(Path(file)) else None
        known = self._known[file]
        if known is None:
            return top
        if top not in known:
            known[top] = self.actual(top, Path(file))
        return known[top]

    def beside(self, module: ModuleType) -> Iterator[tuple[str, ModuleType]]:
        """What is loaded of the modules of an application, given one of them: those of its roots, or of its package where it is
        an installed one. With the names that they have, of which one may have several."""
        file = Path(str(getattr(module, "__file__", "")))
        around = self._around(file) if self._is_own(file) else []
        package = module.__name__.partition(".")[0] + "."
        for name, found in list(sys.modules.items()):
            place = str(getattr(found, "__file__", ""))
            in_root = any(place.startswith(f"{root}{os.sep}") for root in around) and self._is_own(Path(place))
            if found is module or in_root or (not around and name.startswith(package)):
                yield name, found
            if in_root:
                yield from ((other, found) for other in self._names(_without_suffix(Path(place))) if other != name)

    # What Python asks

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """See `MetaPathFinder`."""
        top = fullname.partition(".")[0]
        if top in sys.stdlib_module_names:
            return None
        roots = self._roots
        for folder, package in (*roots.items(), *self._numbered.items()):
            if fullname == package:
                spec = ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations = [str(folder)]
                return spec
        if path is None and not any(self._has(folder, top) for folder in (*roots, *self._homes)):
            return None
        if path is not None and not any(self._is_own(Path(entry)) for entry in path):
            return None
        found = PathFinder.find_spec(fullname, path)
        if found is None or not found.origin or not self._is_own(Path(found.origin)):
            return None
        dotted = self._dotted(_without_suffix(Path(found.origin)))
        return ModuleSpec(fullname, _SameModule(dotted)) if dotted and dotted != fullname else None

    # Names

    def _search(self, file: Path, top: str) -> Iterator[Path]:
        """Where names of a file are looked up: the folders of graphs that it is in, the nearest first, its root, other roots. For
        a name of Cauce's all of Python's path, of which an application may have made more."""
        around = self._around(file)
        yield from (folder for folder in file.parents if folder in self._homes and folder not in around[:1])
        yield from around
        if top not in _OURS:
            yield from (root for root in self._roots if root not in around)
            return
        for entry in map(Path, list(sys.path)):
            if entry.is_absolute() and entry != _CAUCE and self._has(entry, top):
                self._add_root(entry)
                yield entry

    def _around(self, place: Path) -> list[Path]:
        """The roots that it is in, the nearest first."""
        around = [root for root in self._roots if root == place or root in place.parents]
        return sorted(around, key=lambda root: -len(root.parts))

    def _root(self, place: Path) -> Path | None:
        return next(iter(self._around(place)), None)

    def _is_own(self, file: Path) -> bool:
        """Whether a file is an application's: in a root, and no library's, nor Cauce's own."""
        root = self._root(file)
        if root is None or _LIBRARIES & set(file.parts) or _STDLIB in file.parents:
            return False
        return _CAUCE in root.parents or (file != _CAUCE and _CAUCE not in file.parents)

    def _dotted(self, place: Path) -> str | None:
        """The name of a module, by the path of its file without suffix; None where there can be none."""
        return next((name for root in self._around(place) if root != place for name in self._named(root, place)), None)

    def _names(self, place: Path) -> Iterator[str]:
        """All names that lead to it."""
        for root in self._around(place):
            yield from self._named(root, place)
        for home in place.parents:
            parts = place.relative_to(home).parts
            if home in self._homes and _are_names(parts) and self._is_plain(home, parts[0]):
                yield ".".join(parts)

    def _named(self, root: Path, place: Path) -> Iterator[str]:
        """Its names below the root, that it has first."""
        parts = place.relative_to(root).parts
        if _are_names(parts):
            if root not in self._apart and parts[0] not in sys.stdlib_module_names and self._is_plain(root, parts[0]):
                yield ".".join(parts)
            yield ".".join((self._roots[root], *parts))
            if root in self._numbered and self._numbered[root] != self._roots[root]:
                yield ".".join((self._numbered[root], *parts))

    def _has(self, folder: Path, top: str) -> bool:
        """Whether a name means a module of the folder there. As on a path, the standard library comes first, and a folder without
        `__init__.py` last."""
        if top in sys.stdlib_module_names or (folder == _CAUCE and top in _OURS):
            return False
        found = PathFinder.find_spec(top, [str(folder)])
        return found is not None and (found.origin is not None or top in _OURS or self._is_plain(folder, top))

    def _is_plain(self, folder: Path, top: str) -> bool:
        """Whether Python's path leads to the folder's module by this name."""
        if (folder, top) not in self._plain:
            self._plain[folder, top] = self._leads_to(folder, top)
        return self._plain[folder, top]

    def _leads_to(self, folder: Path, top: str) -> bool:
        if top in _OURS and folder != _CAUCE:
            return False
        own, there = PathFinder.find_spec(top, [str(folder)]), sys.modules.get(top)
        found = there.__spec__ if there else PathFinder.find_spec(top)
        return own is not None and found is not None and _places(own) == _places(found)


class _SameModule(Loader):
    """Gives the module of another name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def exec_module(self, module: ModuleType) -> None:
        """See `Loader`: what stands in `sys.modules` afterwards is what is imported."""
        sys.modules[module.__name__] = importlib.import_module(self._name)


_of_python = builtins.__import__


def _import(
    name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
) -> Any:
    """Python's `__import__`, with what names mean in the modules of applications."""
    top, dot, rest = name.partition(".")
    if level or (actual := APPLICATIONS.meant(top, _asking(globals))) == top:
        return _of_python(name, globals, locals, fromlist or (), level)
    found = _of_python(f"{actual}{dot}{rest}", globals, locals, fromlist or (), 0)
    return found if fromlist else sys.modules[actual]  # `import a.b` binds a


def _asking(names: Any) -> str:
    """The file of the module that imports. Code in a string (`exec`) is the caller's."""
    frame = sys._getframe(2)
    while names is None or "__spec__" not in names:
        if (back := frame.f_back) is None:
            return ""
        names, frame = frame.f_globals, back
    return str(names.get("__file__"))


def _executed(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
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


def _places(spec: ModuleSpec) -> set[Path]:
    found = [spec.origin] if spec.origin else spec.submodule_search_locations or []
    return {Path(place).resolve() for place in found}


def _without_suffix(file: Path) -> Path:
    name = file.name.partition(".")[0]
    return file.parent if name == "__init__" else file.parent / name


def _are_names(parts: Sequence[str]) -> bool:
    return bool(parts) and all(part.isidentifier() for part in parts)


def _identifier(path: str) -> str:
    """The path as a part of a name, another one for each path."""
    return re.sub(r"\W|_", lambda found: "__" if found[0] == "_" else f"_{ord(found[0]):x}_", path)


APPLICATIONS = Applications()


def file_of(path: Path) -> Path:
    """The file of a graph, with links followed: modules are named from their folders. The files of a volume of Kubernetes are
    links into a folder with another name each time (`..2026_11_28_...`), and are taken by the name that stays."""
    path = Path(os.path.normpath(path))
    target = path.resolve()
    return path.parent.resolve() / path.name if any(part.startswith("..") for part in target.parts) else target


def name_of_file(place: str) -> str:
    """The name of a graph's file that has none of its own: the same in every process, since types are stored with it."""
    return "cauce_graph_" + re.sub(r"\W", "_", place.removesuffix(".py").lstrip("./\\"))
