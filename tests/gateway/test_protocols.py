"""What the gateway's protocols declare in their folders is what the door knows of them."""

from __future__ import annotations

from pathlib import Path

from connectors.gateway import protocols
from connectors.gateway.app import open_paths
from connectors.gateway.protocol import all_protocols


def test_every_folder_is_a_protocol_that_is_served() -> None:
    (where,) = protocols.__path__
    folders = {folder.name for folder in Path(where).iterdir() if (folder / "__init__.py").exists()}
    assert {protocol.name for protocol in all_protocols()} == folders
    for protocol in all_protocols():
        assert all(path.startswith(f"/{protocol.name}/") for path in protocol.open_paths)


def test_what_is_open_is_what_is_said_to_be() -> None:
    decided = ["/auth/", "/lg/ok", "/login", "/login/", "/ok", "/v1/docs", "/v1/docs/", "/v1/openapi.json"]
    assert sorted(open_paths()) == decided, "whoever opens a path to everybody decides so here, too"
