"""The texts of the rule-based model: fixed sentences, and tool results in readable form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

SUGGESTED_PHRASES = (
    "What mail do I have?",
    "Show my unread mail",
    "Read the mail from Laura",
    "Find mails about the invoice",
    "Send an email to ana@example.com saying I will call tomorrow",
    "What tasks do I have?",
    "Create a task to call Ana tomorrow",
    "Mark the task 'Call Ana' as done",
    "¿Qué correos tengo?",
    "Crea una tarea para llamar al banco mañana",
)
"""Phrases that work, for help texts; the tests hold the model to each."""

_TEXTS = {
    "identity": (
        "I am Cauce's built-in assistant. I follow rules; there is no language model behind me. I can read and send mail and "
        "keep tasks. For a real model, set a provider's API key or run Ollama, and restart Cauce.",
        "Soy el asistente incluido en Cauce. Sigo reglas; no hay ningún modelo de lenguaje detrás. Puedo leer y enviar correo "
        "y llevar tareas. Para un modelo de verdad, pon la clave de un proveedor o arranca Ollama, y reinicia Cauce.",
    ),
    "greeting": ("Hello! Try for example:", "¡Hola! Prueba por ejemplo:"),
    "help": ("I follow rules and understand phrases such as:", "Sigo reglas y entiendo frases como:"),
    "unknown": (
        "I did not understand that. I only follow rules; these phrases work:",
        "No lo he entendido. Solo sigo reglas; estas frases funcionan:",
    ),
    "too_long": (
        "That is too long for me: I only follow rules, and read at most {most} characters. Say it in a sentence.",
        "Es demasiado largo para mí: solo sigo reglas y leo como mucho {most} caracteres. Dilo en una frase.",
    ),
    "thanks": ("You are welcome.", "De nada."),
    "remember": (
        "I cannot remember things yet, but I can create a task for it: “Create a task to ...”.",
        "Todavía no puedo recordar cosas. Puedo crear una tarea: «Crea una tarea para ...».",
    ),
    "no_tool": ("I have no tool for that here.", "No tengo ninguna herramienta para eso."),
    "which_recipient": (
        "To which address? Say for example: “Send an email to ana@example.com saying ...”.",
        "¿A qué dirección? Di por ejemplo: «Envía un correo a ana@example.com diciendo que ...».",
    ),
    "which_body": (
        "What should it say? For example: “Send an email to {to} saying I will be late”.",
        "¿Qué debe decir? Por ejemplo: «Envía un correo a {to} diciendo que llegaré tarde».",
    ),
    "which_task": ("What is the task? For example: “Create a task to call Ana tomorrow”.", "¿Cuál es la tarea?"),
    "task_not_found": ("I found no open task like “{name}”.", "No encuentro ninguna tarea abierta como «{name}»."),
    "tasks_ambiguous": ("Several tasks match “{name}”; which one?", "Varias tareas encajan con «{name}»; ¿cuál?"),
    "mail_not_found": ("I found no such mail.", "No encuentro ese correo."),
    "no_mail": ("There is no mail.", "No hay correos."),
    "no_tasks": ("There are no open tasks.", "No hay tareas abiertas."),
    "mails": ("{n} mails:", "{n} correos:"),
    "tasks": ("{n} tasks:", "{n} tareas:"),
    "projects": ("{n} projects:", "{n} proyectos:"),
    "sent": ("Done: the mail to {to} is sent.", "Hecho: el correo a {to} está enviado."),
    "created": ("Done: the task “{name}” is created{due}.", "Hecho: la tarea «{name}» está creada{due}."),
    "completed": ("Done: “{name}” is marked as completed.", "Hecho: «{name}» está marcada como completada."),
    "instead": ("I did nothing myself; you said: {text}", "No he hecho nada yo; has dicho: {text}"),
    "failed": ("That did not work: {reason}", "No ha funcionado: {reason}"),
}


def say(key: str, spanish: bool, **values: Any) -> str:
    """A fixed sentence in the user's language."""
    return _TEXTS[key][1 if spanish else 0].format(**values)


def with_phrases(key: str, spanish: bool) -> str:
    """A sentence followed by phrases that work, the user's language first."""
    ordered = sorted(SUGGESTED_PHRASES, key=lambda p: ("ñ" in p or "¿" in p or p.startswith("Crea ")) != spanish)
    return "\n".join([say(key, spanish), *(f"  • {phrase}" for phrase in ordered[: 4 if spanish else 8])])


def result_of(content: str) -> Any:
    """A tool's result as an object, or the text itself."""
    try:
        return json.loads(content)
    except ValueError:
        return content


def rows_of(result: Any, key: str) -> list[Mapping[str, Any]]:
    """The rows under `key` of a result, or the result itself where that is a list."""
    rows = result.get(key) if isinstance(result, dict) else result
    return [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []


def mail_list(rows: Sequence[Mapping[str, Any]], spanish: bool) -> str:
    """Mails as a short list: unread mark, sender, subject, date, first words."""
    if not rows:
        return say("no_mail", spanish)
    lines = [say("mails", spanish, n=len(rows))]
    for row in rows:
        mark = "●" if row.get("unread") else "○"
        lines.append(
            f"{mark} {row.get('from', '?')} — {row.get('subject') or '(no subject)'} ({str(row.get('date', ''))[:16]})"
        )
        if snippet := str(row.get("snippet", "")).strip():
            lines.append(f"    {snippet[:100]}")
    return "\n".join(lines)


def mail_text(mail: Mapping[str, Any]) -> str:
    """One mail, whole."""
    head = f"{mail.get('from', '?')} — {mail.get('subject') or '(no subject)'} ({str(mail.get('date', ''))[:16]})"
    return f"{head}\n\n{mail.get('body') or mail.get('snippet') or ''}".strip()


def task_list(rows: Sequence[Mapping[str, Any]], spanish: bool) -> str:
    """Tasks as a short list with their due dates."""
    if not rows:
        return say("no_tasks", spanish)
    lines = [say("tasks", spanish, n=len(rows))]
    for row in rows:
        mark = "✓" if row.get("completed") else "•"
        due = row.get("due_on") or row.get("due_date")
        lines.append(f"{mark} {row.get('name', '?')}" + (f" — {due}" if due else ""))
    return "\n".join(lines)


def due_phrase(due: object, spanish: bool) -> str:
    """ ", due 2026-01-31" or nothing."""
    if not due:
        return ""
    return f", para el {due}" if spanish else f", due {due}"
