"""The next step towards what the user wants: a tool call, or a text. Pure functions of the conversation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from connectors.models.rules import phrasing, slots
from connectors.models.rules.intents import Intent, fold, intent_of
from connectors.models.rules.phrasing import result_of, rows_of, say

LIST_MAIL = "Gmail_ListEmails"
SEARCH_MAIL = "Gmail_SearchEmailsByQuery"
GET_MAIL = "Gmail_GetEmail"
SEND_MAIL = "Gmail_SendEmail"
REPLY_MAIL = "Gmail_ReplyToEmail"
CREATE_TASK = "Asana_CreateTask"
LIST_TASKS = "Asana_GetTasksWithoutId"
COMPLETE_TASK = "Asana_MarkTaskAsCompleted"
LIST_PROJECTS = "Asana_ListProjects"
_CHANGES = (SEND_MAIL, REPLY_MAIL, CREATE_TASK, COMPLETE_TASK)
"""Tools with side effects; each returns an object."""


@dataclass(frozen=True, slots=True)
class Done:
    """A tool call that was made, and its result."""

    name: str
    arguments: Mapping[str, Any]
    content: str
    failed: bool


_CHANGED = re.compile(r"\(Before approving, the user changed the arguments to (.*?)\.\)\n(.*)", re.DOTALL)
"""How the turns processor informs a model of changed arguments."""


def as_made(arguments: dict[str, Any], content: str) -> tuple[dict[str, Any], str]:
    """The arguments with which a call was made, which the user may have changed, and its bare result."""
    if not (found := _CHANGED.fullmatch(content)):
        return arguments, content
    try:
        changed = json.loads(found[1])
    except ValueError:  # they were too long to be shown in full
        return {}, found[2]
    return (changed if isinstance(changed, dict) else {}), found[2]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the next step depends on. `since` are the calls made since the user's last message."""

    text: str
    spanish: bool
    since: Sequence[Done]
    earlier: Sequence[Done]
    tools: frozenset[str]
    today: date

    def results(self, name: str, key: str) -> list[Mapping[str, Any]]:
        """All rows that calls of a tool returned in this thread, newest first."""
        calls = [d for d in (*self.earlier, *self.since) if d.name == name and not d.failed]
        return [row for call in reversed(calls) for row in rows_of(result_of(call.content), key)]

    @property
    def mails(self) -> list[Mapping[str, Any]]:
        """The mails that this thread has seen."""
        return [*self.results(SEARCH_MAIL, "emails"), *self.results(LIST_MAIL, "emails")]

    @property
    def tasks(self) -> list[Mapping[str, Any]]:
        """The tasks that this thread has seen."""
        return self.results(LIST_TASKS, "tasks")


@dataclass(frozen=True, slots=True)
class Say:
    """Answer with this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Call this tool."""

    name: str
    arguments: dict[str, Any]


Step = Say | Call


MAX_TEXT = 2_000
"""Characters of a message that are looked at. The patterns' cost grows with the square of the length, and they run on the event
loop that serves all tenants."""
_MAX_SENDER = 500


def next_step(c: Conversation) -> Step:
    """The next step. Requests only tools that are available."""
    if len(c.text) > MAX_TEXT:
        return Say(say("too_long", c.spanish, most=f"{MAX_TEXT:,}"))
    if c.since and c.since[-1].failed:
        return Say(say("failed", c.spanish, reason=c.since[-1].content))
    if c.since and c.since[-1].name in _CHANGES and not isinstance(result_of(c.since[-1].content), dict):
        return Say(say("instead", c.spanish, text=c.since[-1].content))  # the user responded in place of the tool
    step: Step = _PLANS[intent_of(c.text)](c)
    if isinstance(step, Call):
        if step.name not in c.tools:
            return Say(say("no_tool", c.spanish))
        if len(c.since) >= 4:
            return Say(say("failed", c.spanish, reason="too many steps"))
    return step


def _phrase(key: str, *, phrases: bool = False) -> Any:
    def plan(c: Conversation) -> Step:
        return Say(phrasing.with_phrases(key, c.spanish) if phrases else say(key, c.spanish))

    return plan


def _list_mail(c: Conversation) -> Step:
    if c.since:
        return Say(phrasing.mail_list(rows_of(result_of(c.since[-1].content), "emails"), c.spanish))
    folded = fold(c.text)
    query = []
    if any(word in folded for word in ("unread", "new ", "haven't read", "no leid", "sin leer", "nuevo")):
        query.append("is:unread")
    if sender := slots.sender_in(c.text):
        query.append(f"from:{sender}")
    if query:
        return Call(SEARCH_MAIL, {"query": " ".join(query), "max_results": 10})
    return Call(LIST_MAIL, {"n_emails": 10})


def _search_mail(c: Conversation) -> Step:
    if c.since:
        return Say(phrasing.mail_list(rows_of(result_of(c.since[-1].content), "emails"), c.spanish))
    return Call(SEARCH_MAIL, {"query": _query(c.text), "max_results": 10})


def _read_mail(c: Conversation) -> Step:
    if c.since and c.since[-1].name == GET_MAIL:
        result = result_of(c.since[-1].content)
        mail = result.get("email", result) if isinstance(result, dict) else {}
        return Say(phrasing.mail_text(mail))
    if c.since:
        rows = rows_of(result_of(c.since[-1].content), "emails")
        return Call(GET_MAIL, {"email_id": str(rows[0]["id"])}) if rows else Say(say("mail_not_found", c.spanish))
    return Call(SEARCH_MAIL, {"query": _query(c.text), "max_results": 5})


def _query(text: str) -> str:
    parts = [f"from:{sender}"] if (sender := slots.sender_in(text)) else []
    if topic := slots.topic_in(text):
        parts.append(topic)
    return " ".join(parts) or "in:inbox"


def _send_mail(c: Conversation) -> Step:
    if c.since and c.since[-1].name == SEND_MAIL:
        return Say(say("sent", c.spanish, to=c.since[-1].arguments.get("recipient", "?")))
    recipient, subject, body = slots.mail_in(c.text)
    if recipient is None:
        return Say(say("which_recipient", c.spanish))
    if "@" not in recipient:
        known = _address_of(recipient, c.mails)
        if known is None and not c.since and SEARCH_MAIL in c.tools:
            return Call(SEARCH_MAIL, {"query": f"from:{recipient}", "max_results": 5})
        if known is None:
            return Say(say("which_recipient", c.spanish))
        recipient = known
    if not body:
        return Say(say("which_body", c.spanish, to=recipient))
    return Call(SEND_MAIL, {"recipient": recipient, "subject": subject or body[:60], "body": body})


def _reply_mail(c: Conversation) -> Step:
    if c.since and c.since[-1].name == REPLY_MAIL:
        return Say(say("sent", c.spanish, to=slots.mail_in(c.text)[0] or "?"))
    recipient, _, body = slots.mail_in(c.text)
    if not body:
        return Say(say("which_body", c.spanish, to=recipient or "ana@example.com"))
    matching = [m for m in c.mails if recipient and fold(recipient) in fold(str(m.get("from", "")))]
    if matching:
        return Call(REPLY_MAIL, {"body": body, "reply_to_message_id": str(matching[0]["id"])})
    if recipient and not c.since:
        return Call(SEARCH_MAIL, {"query": f"from:{recipient}", "max_results": 5})
    return Say(say("mail_not_found", c.spanish))


def _address_of(name: str, mails: Sequence[Mapping[str, Any]]) -> str | None:
    """The address of a person whose mail this thread has seen."""
    for mail in mails:
        sender = str(mail.get("from", ""))[:_MAX_SENDER]
        if fold(name) in fold(sender) and (address := slots.ADDRESS.search(sender)):
            return address.group(0)
    return None


def _create_task(c: Conversation) -> Step:
    if c.since:
        arguments = c.since[-1].arguments
        due = phrasing.due_phrase(arguments.get("due_date"), c.spanish)
        return Say(say("created", c.spanish, name=arguments.get("name", "?"), due=due))
    name, due_day = slots.task_in(c.text, c.today)
    if not name:
        return Say(say("which_task", c.spanish))
    return Call(CREATE_TASK, {"name": name, **({"due_date": due_day.isoformat()} if due_day else {})})


def _list_tasks(c: Conversation) -> Step:
    if c.since:
        return Say(phrasing.task_list(rows_of(result_of(c.since[-1].content), "tasks"), c.spanish))
    return Call(LIST_TASKS, {"completed": False, "limit": 20})


def _complete_task(c: Conversation) -> Step:
    name = slots.task_name_in(c.text)
    if c.since and c.since[-1].name == COMPLETE_TASK:
        done = next((t for t in c.tasks if str(t.get("id")) == c.since[-1].arguments.get("task_id")), {})
        return Say(say("completed", c.spanish, name=done.get("name", name)))
    if not c.since:
        return Call(LIST_TASKS, {"completed": False, "limit": 50})
    rows = rows_of(result_of(c.since[-1].content), "tasks")
    matching = [t for t in rows if name and fold(name) in fold(str(t.get("name", "")))]
    exact = [t for t in matching if fold(str(t.get("name", ""))) == fold(name)]
    if len(exact or matching) == 1:
        return Call(COMPLETE_TASK, {"task_id": str((exact or matching)[0]["id"])})
    if not matching:
        return Say(say("task_not_found", c.spanish, name=name))
    listed = phrasing.task_list(matching, c.spanish)
    return Say(f"{say('tasks_ambiguous', c.spanish, name=name)}\n{listed}")


def _list_projects(c: Conversation) -> Step:
    if not c.since:
        return Call(LIST_PROJECTS, {"limit": 20})
    rows = rows_of(result_of(c.since[-1].content), "projects")
    return Say("\n".join([say("projects", c.spanish, n=len(rows)), *(f"• {r.get('name', '?')}" for r in rows)]))


_PLANS = {
    Intent.IDENTITY: _phrase("identity"),
    Intent.HELP: _phrase("help", phrases=True),
    Intent.GREETING: _phrase("greeting", phrases=True),
    Intent.THANKS: _phrase("thanks"),
    Intent.REMEMBER: _phrase("remember"),
    Intent.UNKNOWN: _phrase("unknown", phrases=True),
    Intent.LIST_MAIL: _list_mail,
    Intent.SEARCH_MAIL: _search_mail,
    Intent.READ_MAIL: _read_mail,
    Intent.SEND_MAIL: _send_mail,
    Intent.REPLY_MAIL: _reply_mail,
    Intent.CREATE_TASK: _create_task,
    Intent.LIST_TASKS: _list_tasks,
    Intent.COMPLETE_TASK: _complete_task,
    Intent.LIST_PROJECTS: _list_projects,
}
