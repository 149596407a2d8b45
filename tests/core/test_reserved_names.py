"""What says who somebody is comes from the credential, never from what a client or an assistant configures."""

from __future__ import annotations

from typing import Any

import pytest

from core.graph_configuration import both
from core.principal import Principal
from core.refusals import Invalid
from core.reserved_names import check_metadata, check_names, identity_of

ANA = Principal("acme", "ana")
RESERVED = {
    "langgraph_auth_user": {"identity": "boss", "permissions": ["admin"]},
    "langgraph_auth_user_id": "acme:boss",
    "langgraph_anything": 1,
    "cauce_agent": "x",
    "tenant_id": "lumen",
    "user_id": "boss",
    "__secret": 1,
}


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_mean_identity_are_refused_from_clients_and_assistants(name: str) -> None:
    given = {name: RESERVED[name]}
    for config, context in (({"configurable": given}, {}), ({}, given)):
        with pytest.raises(Invalid, match="reserved"):
            check_names(config, context, ANA)
        with pytest.raises(Invalid, match="reserved"):
            both({"config": config, "context": context})


@pytest.mark.parametrize("name", ["tenant_id", "user_id", "cauce_agent", "langgraph_auth_user"])
def test_metadata_that_graphs_find_in_their_config_identify_nobody(name: str) -> None:
    with pytest.raises(Invalid, match="reserved"):
        check_names({"metadata": {name: "boss"}}, {}, ANA)
    with pytest.raises(Invalid, match="reserved"):
        check_metadata({name: "boss"}, ANA)


def test_what_official_clients_send_by_themselves_is_passed_over() -> None:
    """`RemoteGraph` in a graph forwards the config of the run that it is in; clients send the place of a state."""
    forwarded: dict[str, Any] = {
        "thread_id": "t",
        "checkpoint_id": "c",
        "checkpoint_ns": "",
        "checkpoint_map": {},
        "run_id": "r",
        "__pregel_durability": "async",
        "langgraph_request_id": "r",
        "langgraph_auth_permissions": ["read"],
        "tenant_id": "acme",
        "user_id": "ana",
        "langgraph_auth_user_id": identity_of("acme", "ana"),
        "tone": "kind",
    }
    check_names({"configurable": forwarded, "metadata": {"langgraph_step": 3, "user_id": "ana"}}, {}, ANA)
    with pytest.raises(Invalid, match="reserved"):
        check_names({"configurable": forwarded}, {}, Principal("acme", "bert"))


def test_an_identity_is_unique_in_the_installation() -> None:
    assert identity_of("acme", "ana") != identity_of("lumen", "ana")
