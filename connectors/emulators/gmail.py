"""Emulated Gmail REST API, limited to what the tools use: messages list, get and send, drafts, profile.

Shapes, ids and error bodies follow Google's published API v1; the search understands from, to, subject, is, in, label,
newer_than, older_than, has:attachment (never matches), quotes, minus and free text.
"""

from __future__ import annotations

import base64
import email
import email.policy
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Query, Request

from connectors.emulators.emulated_data import Store
from connectors.emulators.seed import OWNER_ADDRESS

_TERM = re.compile(r'(-?)(?:(\w+):)?("[^"]*"|\S+)')
_UNITS = {"d": 1, "m": 30, "y": 365}


def routes(store: Store, now: Callable[[], datetime]) -> APIRouter:
    """The API's routes under `/gmail/v1/users/me`."""
    router = APIRouter(prefix="/gmail/v1/users/me")

    @router.get("/profile")
    async def profile() -> dict[str, Any]:
        return {"emailAddress": OWNER_ADDRESS, "messagesTotal": len(store.mails), "historyId": str(len(store.mails))}

    @router.get("/messages")
    async def list_messages(
        q: str = "", max_results: int = Query(100, alias="maxResults", ge=1, le=500)
    ) -> dict[str, Any]:
        found = [m for m in reversed(store.mails) if matches(m, q, now())]
        rows = [{"id": m["id"], "threadId": m["thread_id"]} for m in found[:max_results]]
        return {"messages": rows, "resultSizeEstimate": len(found)}

    @router.get("/messages/{message_id}")
    async def get_message(message_id: str) -> dict[str, Any]:
        mail = next((m for m in store.mails if m["id"] == message_id), None)
        if mail is None:
            raise HTTPException(404, "Requested entity was not found.")
        return message_of(mail)

    @router.post("/messages/send")
    async def send(request: Request) -> dict[str, Any]:
        body = await request.json()
        return _deliver(store, _parsed(body), body.get("threadId"), now())

    @router.get("/drafts")
    async def list_drafts() -> dict[str, Any]:
        return {"drafts": [{"id": d["id"], "message": message_of(d)} for d in reversed(store.data["drafts"])]}

    @router.post("/drafts")
    async def create_draft(request: Request) -> dict[str, Any]:
        parsed = _parsed((await request.json())["message"])
        draft = {**parsed, "id": f"d{store.next_id()}", "thread_id": "", "labels": ["DRAFT"], "at": now().isoformat()}
        store.data["drafts"].append(draft)
        store.effect("draft", id=draft["id"], to=draft["to"], subject=draft["subject"])
        store.save()
        return {"id": draft["id"], "message": message_of(draft)}

    @router.post("/drafts/send")
    async def send_draft(request: Request) -> dict[str, Any]:
        draft_id = (await request.json())["id"]
        draft = next((d for d in store.data["drafts"] if d["id"] == draft_id), None)
        if draft is None:
            raise HTTPException(404, "Requested entity was not found.")
        store.data["drafts"].remove(draft)
        return _deliver(store, draft, None, now())

    return router


def _parsed(body: dict[str, Any]) -> dict[str, Any]:
    """A mail from the `raw` field: base64url of an RFC 5322 message."""
    try:
        raw = base64.urlsafe_b64decode(body["raw"] + "=" * (-len(body["raw"]) % 4))
        message = email.message_from_bytes(raw, policy=email.policy.default)
        if not message["to"]:
            raise ValueError("Recipient address required")
    except (KeyError, ValueError) as error:
        raise HTTPException(400, str(error) or "Invalid message") from error
    content = message.get_body(("plain", "html"))
    text = content.get_content() if content else ""
    return {
        "from": OWNER_ADDRESS,
        "to": str(message["to"]),
        "subject": str(message["subject"] or ""),
        "body": text.strip(),
    }


def _deliver(store: Store, mail: dict[str, Any], thread_id: str | None, at: datetime) -> dict[str, Any]:
    number = store.next_id()
    sent = {
        **mail,
        "id": f"m{number}",
        "thread_id": thread_id or f"t{number}",
        "labels": ["SENT", *(["INBOX", "UNREAD"] if OWNER_ADDRESS in mail["to"] else [])],
        "at": at.isoformat(timespec="seconds"),
    }
    store.mails.append(sent)
    store.effect("send", id=sent["id"], to=sent["to"], subject=sent["subject"])
    store.save()
    return {"id": sent["id"], "threadId": sent["thread_id"], "labelIds": sent["labels"]}


def message_of(mail: dict[str, Any]) -> dict[str, Any]:
    """A mail in Gmail's shape; 64-bit numbers are strings there."""
    at = datetime.fromisoformat(mail["at"])
    headers = {"From": mail["from"], "To": mail["to"], "Subject": mail["subject"], "Date": format_datetime(at)}
    data = base64.urlsafe_b64encode(mail["body"].encode()).decode()
    return {
        "id": mail["id"],
        "threadId": mail["thread_id"],
        "labelIds": mail["labels"],
        "snippet": " ".join(mail["body"].split())[:120],
        "internalDate": str(int(at.timestamp() * 1000)),
        "payload": {
            "mimeType": "text/plain",
            "headers": [{"name": k, "value": v} for k, v in headers.items()],
            "body": {"data": data, "size": len(mail["body"])},
        },
    }


def matches(mail: dict[str, Any], query: str, now: datetime) -> bool:
    """Whether a mail matches a search; all terms must match."""
    return all(
        _holds(mail, key.lower(), value.strip('"'), now) != bool(minus) for minus, key, value in _TERM.findall(query)
    )


def _holds(mail: dict[str, Any], key: str, value: str, now: datetime) -> bool:
    value = value.lower()
    if key in ("from", "to", "subject"):
        return value in mail[key].lower()
    if key in ("is", "in", "label"):
        return (
            value == "anywhere"
            or {"unread": "UNREAD", "inbox": "INBOX", "sent": "SENT"}.get(value, value.upper()) in mail["labels"]
            or (value == "read" and "UNREAD" not in mail["labels"])
        )
    if key in ("newer_than", "older_than"):
        number = re.fullmatch(r"(\d+)([dmy])", value)
        if not number:
            return False
        border = now - timedelta(days=int(number.group(1)) * _UNITS[number.group(2)])
        return (datetime.fromisoformat(mail["at"]) >= border) == (key == "newer_than")
    if key == "has":
        return False
    text = f"{mail['from']} {mail['to']} {mail['subject']} {mail['body']}".lower()
    return value in text
