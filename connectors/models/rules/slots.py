"""Extracts arguments from a sentence: who, what, by when."""

from __future__ import annotations

import re
from datetime import date, timedelta

from connectors.models.rules.intents import fold

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")

_WEEKDAYS = (
    ("monday", "lunes"),
    ("tuesday", "martes"),
    ("wednesday", "miercoles"),
    ("thursday", "jueves"),
    ("friday", "viernes"),
    ("saturday", "sabado"),
    ("sunday", "domingo"),
)
_DAY = re.compile(
    r"\b(?:(?:by|before|on|for|due|until|antes del?|para el?|para|el)\s+)?(?:(?:next|this|proximo|este)\s+)?"
    r"(today|tonight|tomorrow|day after tomorrow|next week|hoy|pasado manana|manana|la semana que viene|"
    + "|".join(name for names in _WEEKDAYS for name in names)
    + r"|\d{4}-\d{2}-\d{2})\b"
)
_CREATE = re.compile(
    r"^(?:(?:please|hey|can you|could you|por favor|puedes)[, ]+)*(?:"
    r"(?:create|add|make|put|set up|crea|añade|anade|pon|agrega)\b.*?\b(?:tasks?|to-?dos?|tareas?|pendientes?)\b"
    r"(?:\s+(?:in|on|to|en)\s+(?:asana|my list|mi lista))?|(?:new|nueva|nuevo)\s+(?:task|to-?do|tarea|pendiente)"
    r"|(?:task|to-?do|tarea)(?=:)|remind me|recu[eé]rdame(?:\s+que\s+tengo\s+que)?)\s*(?::|\bto\b|\bcalled\b|\bnamed\b|\bpara\b|\bde\b)?\s*",
    re.IGNORECASE,
)
_LIST_TAIL = re.compile(
    r"[,;]?\s*(?:(?:and\s+)?(?:put|add)\s+(?:it|this)\s+(?:on|to)|on|to|ponlo en)\s+(?:my|mi)\s+(?:(?:to-?do|task)\s+list|lista de tareas)\W*$",
    re.IGNORECASE,
)


def day_in(text: str, today: date) -> tuple[date | None, tuple[int, int] | None]:
    """The day that a sentence names, and its position. A weekday means the next such day, excluding today."""
    folded = fold(text)
    matches = list(_DAY.finditer(folded))
    if not matches or len(folded) != len(text):
        return None, None
    match = matches[-1]  # "call Ana about Monday's trip by Friday" is due on Friday
    word, span = match.group(1), match.span()
    if word in ("today", "tonight", "hoy"):
        return today, span
    if word in ("tomorrow", "manana"):
        return today + timedelta(days=1), span
    if word in ("day after tomorrow", "pasado manana"):
        return today + timedelta(days=2), span
    if word in ("next week", "la semana que viene"):
        return today + timedelta(days=7 - today.weekday()), span
    for number, names in enumerate(_WEEKDAYS):
        if word in names:
            return today + timedelta(days=(number - today.weekday() - 1) % 7 + 1), span
    try:
        return date.fromisoformat(word), span
    except ValueError:
        return None, None


def task_in(text: str, today: date) -> tuple[str, date | None]:
    """Name and due day of a task to create; the name is empty if the sentence gives none."""
    due, span = day_in(text, today)
    if span:
        text = text[: span[0]] + text[span[1] :]
    name = _CREATE.sub("", _LIST_TAIL.sub("", text.strip()))
    name = re.sub(r"^(?:i (?:need|have) to|tengo que)\s+", "", name, flags=re.IGNORECASE)
    name = re.sub(r"\s{2,}", " ", name).strip(" \t.,:;!\"'")
    return (name[:1].upper() + name[1:])[:200], due


def sender_in(text: str) -> str | None:
    """The sender of mail in a sentence such as "mail from Laura"."""
    match = re.search(r"\b(?:from|by|del?)\s+([\w.+-]+(?:@[\w.-]+)?)", text, re.IGNORECASE) or re.search(
        r"\bwhat did ([\w.-]+)|(?:escribió|escribio|dijo|mandó|mando)\s+([\w.-]+)", text, re.IGNORECASE
    )
    if not match:
        return None
    name = next(g for g in match.groups() if g).strip(".")
    return None if fold(name) in ("my", "the", "mi", "la", "el", "hoy", "today", "yesterday", "entrada") else name


def topic_in(text: str) -> str | None:
    """The subject in a sentence such as "find mails about the invoice"."""
    match = re.search(r"\b(?:about|sobre|regarding|containing|with|con)\s+(.+)$", text, re.IGNORECASE)
    if not match:
        return None
    topic = re.sub(
        r"^(?:the|my|an?|el|la|los|las|un|una|mi)\s+", "", match.group(1).strip(" ?!.\"'"), flags=re.IGNORECASE
    )
    return topic or None


def mail_in(text: str) -> tuple[str | None, str, str]:
    """Recipient (an address or a name), subject and body of a mail to send; empty if the sentence does not give them."""
    address = ADDRESS.search(text)
    recipient = address.group(0) if address else None
    if recipient is None:
        match = re.search(r"\b(?:to|a|al)\s+(?:my |mi )?([A-ZÁÉÍÓÚÑ][\w-]+)", text) or re.search(
            r"^(?:\W*please\W+)?(?:e-?mail|mail|write|escribe(?:le)?|manda(?:le)?)\s+([A-ZÁÉÍÓÚÑ][\w-]+)",
            text,
            re.IGNORECASE,
        )
        recipient = match.group(1) if match else None
        if recipient and fold(recipient) in (
            "a",
            "an",
            "the",
            "to",
            "un",
            "una",
            "email",
            "mail",
            "correo",
            "me",
            "mensaje",
        ):
            recipient = None
    body = re.search(
        r"(?:\b(?:saying|that|telling (?:him|her|them)(?: that)?|que|diciendo(?: que)?|with the text|body)\b:?|:)\s*(.+)$",
        text,
        re.I | re.S,
    )
    subject = re.search(
        r"\b(?:about|with (?:the )?subject|subject|sobre|asunto)\b:?\s*(.+?)(?=\s+(?:saying|that|que|diciendo|body)\b|:|$)",
        text,
        re.I,
    )
    content = body.group(1).strip(" \"'") if body else ""
    title = subject.group(1).strip(" \"'.") if subject else ""
    return recipient, title[:120], content[:1].upper() + content[1:]


def task_name_in(text: str) -> str:
    """The task in a sentence such as "mark the task 'Send invoice' as done"."""
    quoted = re.search(r"[\"'“‘](.+?)[\"'”’]", text)
    if quoted:
        return quoted.group(1)
    name = re.sub(
        r"^.*?\b(?:mark|complete|finish|close|tick off|check off|marca|completa|termina|cierra)\b\s*",
        "",
        text,
        flags=re.I,
    )
    name = re.sub(r"\b(?:as|is|como)?\s*(?:done|completed?|finished|hech[oa]|completad[oa])\W*$", "", name, flags=re.I)
    name = re.sub(r"^(?:the|my|la|mi)\s+", "", name.strip(), flags=re.I)
    return re.sub(r"^(?:task|to-?do|tarea)\s+|\s+(?:task|to-?do|tarea)$", "", name.strip(), flags=re.I).strip(" ?!.")
