"""The initial content of an emulated account: a few realistic mails and tasks, dated around the day of the first start."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

OWNER_ADDRESS = "you@cauce.example"

_MAILS = (
    (
        0.1,
        True,
        "Laura Díaz <laura.diaz@lumen.example>",
        "Friday's meeting",
        "Hi,\n\ncould we move Friday's meeting to 11:30? The room is taken before. I would also like to go through the "
        "budget for next quarter, half an hour should do.\n\nBest\nLaura",
    ),
    (
        0.3,
        True,
        "Ana Ferrer <ana.ferrer@correo.example>",
        "Call me when you can",
        "Hey! Could you give me a call tomorrow? I need your opinion on the flat in Calle Mayor before I sign.\n\nAna",
    ),
    (
        0.8,
        True,
        "Acme Billing <billing@acme.example>",
        "Invoice 2041 is due",
        "Dear customer,\n\ninvoice 2041 over 312.40 EUR is due in seven days. Please use the reference 2041 with your "
        "transfer.\n\nAcme Office Supplies",
    ),
    (
        1.2,
        False,
        "Igor Petrov <igor.petrov@casas.example>",
        "Heating on the second floor",
        "Good evening,\n\nthe technician comes on Wednesday between 9 and 12 to look at the heating. Somebody should be at "
        "home.\n\nIgor",
    ),
    (
        2.0,
        False,
        "Weekly Kafka <letter@streams.example>",
        "Five things about partitions",
        "In this issue: why more partitions are not always better, how to choose keys, and what a rebalance costs.",
    ),
    (
        2.5,
        False,
        "Marta Ruiz <marta.ruiz@lumen.example>",
        "Slides for the review",
        "Hello,\n\nI put the slides for Thursday's review into the shared folder. Comments until Wednesday noon, "
        "please.\n\nMarta",
    ),
    (
        4.0,
        False,
        "City Library <library@city.example>",
        "Your loans",
        "Two books are due next week: 'The Sea Around Us' and 'Designing Data-Intensive Applications'.",
    ),
    (
        6.0,
        False,
        "Pedro Soto <pedro.soto@correo.example>",
        "Dinner on Saturday?",
        "Shall we try the new place by the harbour on Saturday? I can book a table for four at nine.\n\nPedro",
    ),
)
_TASKS = (
    ("Send the quarterly report to Laura", "Work", 2, False),
    ("Review Marta's slides", "Work", 1, False),
    ("Pay invoice 2041", "Home", 6, False),
    ("Book a dentist appointment", "Home", None, False),
    ("Renew the library card", "Home", -3, True),
)


def seeded(now: datetime) -> dict[str, Any]:
    """The content of a new store. `now` has a time zone."""
    projects = [{"gid": "501", "name": "Work"}, {"gid": "502", "name": "Home"}]
    by_name = {p["name"]: p["gid"] for p in projects}
    mails = [
        {
            "id": f"m{100 + n}",
            "thread_id": f"t{100 + n}",
            "labels": ["INBOX", *(["UNREAD"] if unread else [])],
            "from": sender,
            "to": OWNER_ADDRESS,
            "subject": subject,
            "body": body,
            "at": (now - timedelta(days=days)).isoformat(timespec="seconds"),
        }
        for n, (days, unread, sender, subject, body) in enumerate(reversed(_MAILS))
    ]
    tasks = [
        {
            "gid": str(900 + n),
            "name": name,
            "notes": "",
            "project": by_name[project],
            "due_on": (now + timedelta(days=due)).date().isoformat() if due is not None else None,
            "completed": completed,
            "created_at": (now - timedelta(days=7 - n)).isoformat(timespec="seconds"),
        }
        for n, (name, project, due, completed) in enumerate(_TASKS)
    ]
    return {"last_id": 10_000, "mails": mails, "drafts": [], "tasks": tasks, "projects": projects, "effects": []}
