"""What the gateway's protocols declare in their folders is what the door knows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.gateway import protocols
from connectors.gateway.app import open_paths
from connectors.gateway.protocol import all_protocols, starts_run


def test_every_folder_is_a_protocol_that_is_served() -> None:
    (where,) = protocols.__path__
    folders = {folder.name for folder in Path(where).iterdir() if (folder / "__init__.py").exists()}
    assert {protocol.name for protocol in all_protocols()} == folders
    for protocol in all_protocols():
        assert all(path.startswith(f"/{protocol.name}/") for path in protocol.open_paths)


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/v1/threads/t/messages", True),
        ("/v1/threads/t/runs/wait", True),
        ("/v1/threads", False),
        ("/v1/threads/t/approvals/c", False),
        ("/lg/threads/t/runs/stream", True),
        ("/lg/threads/t/commands", True),
        ("/lg/runs/batch", True),
        ("/runs/wait", True),
        ("/lg/threads/t/state", False),
        ("/lg/runs/cancel", False),
        ("/agui", True),
        ("/agui/helper", True),
        ("/agui/threads/t/runs/r/cancel", False),
    ],
)
def test_posts_that_start_runs_count_towards_the_limit_of_runs(path: str, counts: bool) -> None:
    assert starts_run(path) is counts


def test_what_is_open_is_what_is_said_to_be() -> None:
    decided = ["/auth/", "/lg/ok", "/login", "/login/", "/ok", "/v1/docs", "/v1/docs/", "/v1/openapi.json"]
    assert sorted(open_paths()) == decided, "whoever opens a path to everybody decides so here, too"
