"""Whatever lasts longer than one request asks again whether its credential counts; one that has expired does not."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from core.principal import Principal
from core.refusals import Expired
from core.store_core import StoreCore
from schemas.common.clock import utc_now

ROOT = Path(__file__).parents[2]
FOLLOWING = "core/following/thread_stream.py"
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("kind", ["key", "token", "session"])
async def test_what_was_begun_with_an_expired_credential_does_not_continue(
    core: StoreCore, kind: Literal["key", "token", "session"]
) -> None:
    until = utc_now() + MINUTE
    await core.access.still(Principal("acme", "ana", kind=kind, expires=until))
    with pytest.raises(Expired) as refused:
        await core.access.still(Principal("acme", "ana", kind=kind, expires=until - 2 * MINUTE))
    assert refused.value.code == "expired"


async def test_session_that_is_used_elsewhere_continues(core: StoreCore) -> None:
    async def again() -> Principal:
        return Principal("acme", "ana", kind="session", expires=utc_now() + MINUTE)

    await core.access.still(Principal("acme", "ana", kind="session", expires=utc_now() - MINUTE, again=again))


def test_nobody_follows_a_thread_without_asking_whether_its_credential_counts() -> None:
    found = {
        str(path.relative_to(ROOT))
        for room in ("core", "connectors", "processors", "cauce")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("subscribed", "ThreadStream")
    }
    assert found == {FOLLOWING}, "take ThreadStreams.of, whose streams ask"
