from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.arcade.tool_spec import behaviour_of, problems_with, tool_spec

KINDS = ("string", "integer", "number", "boolean", "array", "json")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(),
    "integer": st.integers(),
    "number": st.floats(allow_nan=False) | st.integers(),
    "boolean": st.booleans(),
    "array": st.lists(st.text(), max_size=3),
    "json": st.dictionaries(st.text(), st.integers(), max_size=3),
}
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "string": st.integers() | st.booleans() | st.lists(st.text()),
    "integer": st.text() | st.booleans() | st.just(1.5),
    "number": st.text() | st.booleans(),
    "boolean": st.integers() | st.text(),
    "array": st.text() | st.lists(st.integers(), min_size=1) | st.dictionaries(st.text(), st.text()),
    "json": st.text() | st.lists(st.text()),
}


def parameter(name: str, kind: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "required": required,
        "description": f"the {name}",
        "value_schema": {"val_type": kind, **schema},
    }


def definition(qualified_name: str, *parameters: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "name": qualified_name.partition(".")[2],
        "qualified_name": qualified_name,
        "description": "Does something.",
        "toolkit": {"name": qualified_name.partition(".")[0], "version": "8.9.1"},
        "input": {"parameters": list(parameters)},
        **fields,
    }


def test_a_definition_becomes_what_models_and_calls_need() -> None:
    google = {"id": "g", "provider_id": "google", "oauth2": {"scopes": ["https://scopes.example/gmail.send"]}}
    tool = tool_spec(
        definition(
            "Gmail.SendEmail",
            parameter("subject", "string", required=True),
            parameter("cc", "array", inner_val_type="string"),
            requirements={"authorization": google},
        )
    )
    assert (tool.name, tool.qualified_name, tool.version) == ("Gmail_SendEmail", "Gmail.SendEmail", "8.9.1")
    assert (tool.provider, tool.scopes) == ("google", ("https://scopes.example/gmail.send",))
    assert tool.description == "Does something."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "subject": {"type": "string", "description": "the subject"},
            "cc": {"type": "array", "description": "the cc", "items": {"type": "string"}},
        },
        "required": ["subject"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"val_type": "string"}, {"type": "string"}),
        ({"val_type": "string", "enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"val_type": "json"}, {"type": "object"}),
        ({"val_type": "array", "inner_val_type": "json"}, {"type": "array", "items": {"type": "object"}}),
        ({"val_type": "array", "inner_val_type": "integer"}, {"type": "array", "items": {"type": "integer"}}),
        ({"val_type": "array"}, {"type": "array", "items": {"type": "string"}}),
    ],
)
def test_value_schemas_become_json_schemas(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    tool = tool_spec(definition("A.B", {"name": "x", "value_schema": schema}))
    assert tool.parameters["properties"]["x"] == {"description": "", **expected}


def test_a_bare_definition_is_a_tool_without_arguments_or_scopes() -> None:
    tool = tool_spec({"qualified_name": "Math.Add"})
    assert tool.parameters["properties"] == {}
    assert (tool.version, tool.provider, tool.scopes) == ("", None, ())


@pytest.mark.parametrize("broken", [{}, {"qualified_name": "A.B", "input": {"parameters": [{"name": "x"}]}}])
def test_what_is_no_definition_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError)):
        tool_spec(broken)


@pytest.mark.parametrize(
    ("name", "read_only", "repeatable"),
    [
        ("Gmail.ListEmails", True, True),
        ("Gmail.SearchEmailsByQuery", True, True),
        ("Gmail.GetEmail", True, True),
        ("Gmail.WhoAmI", True, True),
        ("Asana.GetTasksWithoutId", True, True),
        ("Asana.ListProjects", True, True),
        ("Gmail.SendEmail", False, False),
        ("Gmail.ReplyToEmail", False, False),
        ("Gmail.SendDraftEmail", False, False),
        ("Gmail.WriteDraftEmail", False, False),
        ("Gmail.ForwardEmail", False, False),
        ("Gmail.UnsubscribeFromEmail", False, False),
        ("Gmail.DeleteLabel", False, False),
        ("Gmail.TrashEmail", False, True),
        ("Gmail.UpdateDraftEmail", False, True),
        ("Asana.CreateTask", False, False),
        ("Asana.AttachFileToTask", False, False),
        ("Asana.MarkTaskAsCompleted", False, True),
        ("Asana.UpdateTask", False, True),
        ("Stranger.GetAndDelete", False, False),
        ("Stranger.ListThings", False, False),
        ("NoDot", False, False),
    ],
)
def test_behaviour_follows_the_published_flags_and_the_safe_guess(name: str, read_only: bool, repeatable: bool) -> None:
    assert behaviour_of(name) == (read_only, repeatable)
    tool = tool_spec({"qualified_name": name})
    assert tool.side_effects is not read_only


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "subject is missing"),
        ({"subject": None}, "subject is missing"),
        ({"subject": 3}, "subject must be of type string"),
        ({"subject": "a", "colour": "red"}, "there is no argument 'colour'; the arguments are subject, n, mode, cc"),
        ({"subject": "a", "n": True}, "n must be of type integer"),
        ({"subject": "a", "mode": "html"}, "mode must be one of plain, rich"),
        ({"subject": "a", "cc": "x@y.example"}, "cc must be of type array"),
        ({"subject": "a", "cc": ["x", 1]}, "cc must be a list of type string"),
    ],
)
def test_what_is_wrong_with_arguments_is_said_in_words(arguments: dict[str, Any], problem: str) -> None:
    tool = tool_spec(
        definition(
            "Gmail.SendEmail",
            parameter("subject", "string", required=True),
            parameter("n", "integer"),
            parameter("mode", "string", enum=["plain", "rich"]),
            parameter("cc", "array", inner_val_type="string"),
        )
    )
    assert problems_with(arguments, tool.parameters) == [problem]


@given(data=st.data())
def test_arguments_fit_exactly_when_each_has_its_type_and_none_is_missing(data: st.DataObject) -> None:
    kinds = data.draw(st.dictionaries(st.text("abcxyz", min_size=1), st.sampled_from(KINDS), max_size=4), "kinds")
    required = data.draw(st.sets(st.sampled_from(sorted(kinds))) if kinds else st.just(set[str]()), "required")
    schema = tool_spec(
        definition("A.B", *(parameter(name, kind, required=name in required) for name, kind in kinds.items()))
    ).parameters
    good = {
        name: data.draw(VALUES[kind], name)
        for name, kind in kinds.items()
        if name in required or data.draw(st.booleans(), f"with {name}")
    }
    assert problems_with(good, schema) == []

    for name in required:
        without = {other: value for other, value in good.items() if other != name}
        assert problems_with(without, schema) == [f"{name} is missing"]
    for name in good:
        wrong = {**good, name: data.draw(WRONG[kinds[name]], f"wrong {name}")}
        assert len(problems_with(wrong, schema)) == 1
    assert len(problems_with({**good, "unheard_of": 1}, schema)) == 1
