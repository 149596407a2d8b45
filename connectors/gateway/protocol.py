"""A protocol of the gateway: where it is, and what the door has to know of it. Each folder of `protocols/` has its `PROTOCOL`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from fastapi import FastAPI

from connectors.gateway import protocols
from connectors.gateway.gateway_core import GatewayCore


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a folder of `protocols/` declares."""

    name: str
    """The first part of its paths; requests are counted under it."""
    mount: Callable[[FastAPI, GatewayCore, Collection[str]], None]
    """Adds its routes; given the parts of it that are not served, by name."""
    open_paths: tuple[str, ...] = ()
    """Paths for which nobody has to say who he is; those that end with a slash with all below."""


@cache
def all_protocols() -> tuple[Protocol, ...]:
    """All of them, by walking the folders."""
    where = protocols.__name__
    return tuple(import_module(f"{where}.{one.name}").PROTOCOL for one in iter_modules(protocols.__path__) if one.ispkg)
