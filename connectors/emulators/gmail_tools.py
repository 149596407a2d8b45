"""Gmail tools on arcade-tdk, with the names, arguments and scopes of Arcade's published catalogue (Gmail 8.9.1).

Annotations are not postponed here: arcade-tdk reads them as types when it registers a tool.
"""

import base64
from email.message import EmailMessage
from typing import Annotated, Any

from arcade_tdk import ToolContext, tool
from arcade_tdk.auth import Google

from connectors.emulators.services import SERVICES

_SCOPE = "https://www.googleapis.com/auth/"
READ, SEND, COMPOSE = (f"{_SCOPE}gmail.{name}" for name in ("readonly", "send", "compose"))
ME = "/gmail/v1/users/me"


def _row(message: dict[str, Any], *, body: bool = False) -> dict[str, Any]:
    headers = {h["name"].lower(): h["value"] for h in message["payload"]["headers"]}
    row = {
        "id": message["id"],
        "thread_id": message["threadId"],
        "from": headers.get("from", ""),
        "to": headers.get("to", ""),
        "subject": headers.get("subject", ""),
        "date": headers.get("date", ""),
        "snippet": message["snippet"],
        "unread": "UNREAD" in message["labelIds"],
    }
    if body:
        row["body"] = base64.urlsafe_b64decode(message["payload"]["body"]["data"]).decode()
    return row


async def _found(context: ToolContext, query: str, limit: int) -> list[dict[str, Any]]:
    listed = await SERVICES.call(
        context, "GET", f"{ME}/messages", params={"q": query, "maxResults": max(1, min(limit, 50))}
    )
    return [_row(await SERVICES.call(context, "GET", f"{ME}/messages/{m['id']}")) for m in listed["messages"]]


def _raw(subject: str, body: str, recipient: str, cc: list[str] | None = None, bcc: list[str] | None = None) -> str:
    message = EmailMessage()
    message["To"], message["Subject"] = recipient, " ".join(subject.split())
    if cc:
        message["Cc"] = ", ".join(cc)
    if bcc:
        message["Bcc"] = ", ".join(bcc)
    message.set_content(body)
    return base64.urlsafe_b64encode(message.as_bytes()).decode()


@tool(requires_auth=Google(scopes=[READ]))
async def list_emails(
    context: ToolContext,
    n_emails: Annotated[int, "The number of emails to read"] = 5,
    exclude_automated: Annotated[bool, "Leave out newsletters and similar mail"] = False,
) -> Annotated[dict[str, Any], "The newest emails of the inbox"]:
    """Read the newest emails of the user's inbox."""
    return {"emails": await _found(context, "in:inbox", n_emails)}


@tool(requires_auth=Google(scopes=[READ]))
async def search_emails_by_query(
    context: ToolContext,
    query: Annotated[str, "A search as in Gmail's search box, such as 'from:laura is:unread'"],
    max_results: Annotated[int, "The maximum number of emails to return"] = 10,
) -> Annotated[dict[str, Any], "The emails found, newest first"]:
    """Search the user's emails with Gmail's search operators."""
    return {"emails": await _found(context, query, max_results)}


@tool(requires_auth=Google(scopes=[READ]))
async def get_email(
    context: ToolContext, email_id: Annotated[str, "The id of the email"]
) -> Annotated[dict[str, Any], "The email with its text"]:
    """Read one email."""
    return {"email": _row(await SERVICES.call(context, "GET", f"{ME}/messages/{email_id}"), body=True)}


@tool(requires_auth=Google(scopes=[SEND]))
async def send_email(
    context: ToolContext,
    subject: Annotated[str, "The subject"],
    body: Annotated[str, "The text"],
    recipient: Annotated[str, "The address of the recipient"],
    cc: Annotated[list[str] | None, "Addresses of the cc recipients"] = None,
    bcc: Annotated[list[str] | None, "Addresses of the bcc recipients"] = None,
) -> Annotated[dict[str, Any], "The id of the sent email"]:
    """Send an email from the user's account."""
    sent = await SERVICES.call(
        context, "POST", f"{ME}/messages/send", json={"raw": _raw(subject, body, recipient, cc, bcc)}
    )
    return {"id": sent["id"], "thread_id": sent["threadId"], "recipient": recipient, "subject": subject}


@tool(requires_auth=Google(scopes=[SEND, READ]))
async def reply_to_email(
    context: ToolContext,
    body: Annotated[str, "The text of the reply"],
    reply_to_message_id: Annotated[str, "The id of the email to reply to"],
) -> Annotated[dict[str, Any], "The id of the sent reply"]:
    """Reply to an email in its thread."""
    original = _row(await SERVICES.call(context, "GET", f"{ME}/messages/{reply_to_message_id}"))
    subject = original["subject"] if original["subject"].lower().startswith("re:") else f"Re: {original['subject']}"
    message = {"raw": _raw(subject, body, original["from"]), "threadId": original["thread_id"]}
    sent = await SERVICES.call(context, "POST", f"{ME}/messages/send", json=message)
    return {"id": sent["id"], "thread_id": sent["threadId"], "recipient": original["from"], "subject": subject}


@tool(requires_auth=Google(scopes=[COMPOSE]))
async def write_draft_email(
    context: ToolContext,
    subject: Annotated[str, "The subject"],
    body: Annotated[str, "The text"],
    recipient: Annotated[str, "The address of the recipient"],
) -> Annotated[dict[str, Any], "The id of the draft"]:
    """Write a draft, without sending it."""
    draft = await SERVICES.call(
        context, "POST", f"{ME}/drafts", json={"message": {"raw": _raw(subject, body, recipient)}}
    )
    return {"id": draft["id"], "recipient": recipient, "subject": subject}


@tool(requires_auth=Google(scopes=[READ]))
async def list_draft_emails(
    context: ToolContext, n_drafts: Annotated[int, "The number of drafts to read"] = 5
) -> Annotated[dict[str, Any], "The newest drafts"]:
    """Read the user's newest drafts."""
    found = await SERVICES.call(context, "GET", f"{ME}/drafts")
    return {"drafts": [{"draft_id": d["id"], **_row(d["message"])} for d in found["drafts"][:n_drafts]]}


@tool(requires_auth=Google(scopes=[SEND]))
async def send_draft_email(
    context: ToolContext, email_id: Annotated[str, "The id of the draft"]
) -> Annotated[dict[str, Any], "The id of the sent email"]:
    """Send a draft."""
    sent = await SERVICES.call(context, "POST", f"{ME}/drafts/send", json={"id": email_id})
    return {"id": sent["id"], "thread_id": sent["threadId"]}


@tool(requires_auth=Google(scopes=[READ, f"{_SCOPE}userinfo.profile", f"{_SCOPE}userinfo.email"]))
async def who_am_i(context: ToolContext) -> Annotated[dict[str, Any], "The account's address"]:
    """Tell which Gmail account is connected."""
    profile = await SERVICES.call(context, "GET", f"{ME}/profile")
    return {"email_address": profile["emailAddress"], "messages_total": profile["messagesTotal"]}


TOOLS = (
    list_emails,
    search_emails_by_query,
    get_email,
    send_email,
    reply_to_email,
    write_draft_email,
    list_draft_emails,
    send_draft_email,
    who_am_i,
)
