"""Recognizes the intent of a sentence with ordered patterns on text without accents: the first match wins, no match means abstain.

A question about mail must never send one, so patterns that read come before patterns that write, and the latter match only at the
beginning of the sentence.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum


class Intent(StrEnum):
    """What the user wants."""

    GREETING = "greeting"
    HELP = "help"
    IDENTITY = "identity"
    THANKS = "thanks"
    REMEMBER = "remember"
    LIST_MAIL = "list_mail"
    READ_MAIL = "read_mail"
    SEARCH_MAIL = "search_mail"
    REPLY_MAIL = "reply_mail"
    SEND_MAIL = "send_mail"
    COMPLETE_TASK = "complete_task"
    CREATE_TASK = "create_task"
    LIST_TASKS = "list_tasks"
    LIST_PROJECTS = "list_projects"
    UNKNOWN = "unknown"


_MAIL = r"(?:e-?mails?|mails?|messages?|inbox|correos?|mensajes?|buzon|bandeja(?: de entrada)?)"
_TASK = r"(?:tasks?|to-?dos?|to-?do list|tareas?|pendientes?)"
_PLEASE = r"^(?:(?:please|hey|ok|can you|could you|would you|por favor|puedes|podrias)[, ]+)*"

RULES: tuple[tuple[Intent, str], ...] = (
    (
        Intent.IDENTITY,
        r"\b(?:who|what) are you\b|\bare you (?:an? )?(?:ai|llm|bot|human|robot|model)\b|\bquien eres\b|\bque eres\b",
    ),
    (Intent.HELP, r"\bwhat can (?:you|i) (?:do|ask|say)\b|^help\W*$|^/help|\bque (?:puedes|sabes) hacer\b|^ayuda\W*$"),
    (
        Intent.REMEMBER,
        _PLEASE
        + r"(?:remember|keep in mind|don'?t forget|note(?: down)?|recuerda|apunta|anota|ten en cuenta|no olvides)\b(?! me)",
    ),
    (
        Intent.COMPLETE_TASK,
        _PLEASE + r"(?:mark|complete|finish|close|tick off|check off|marca|completa|termina|cierra)\b.*"
        rf"(?:\b(?:done|complete|completed|finished|hecha|hecho|completada)\b|\b{_TASK}\b)",
    ),
    (
        Intent.CREATE_TASK,
        _PLEASE + r"(?:(?:create|add|make|new|put|set up|crea|anade|nueva|nuevo|pon|agrega)\b.*\b"
        rf"{_TASK}\b|{_TASK}:|remind me to\b|recuerdame\b)|\b(?:on|to) my (?:to-?do|task) list\b|\ben mi lista de tareas\b",
    ),
    (Intent.LIST_PROJECTS, r"\b(?:list|show|what|which|my|lista|muestra|que|mis)\b.*\b(?:projects?|proyectos?)\b"),
    (
        Intent.LIST_TASKS,
        r"\b(?:list|show|see|read|check|what|which|any|open|my|have i|do i have|lista|muestra(?:me)?|ver|que|cuales|mis|tengo|hay)\b"
        rf".*\b{_TASK}\b",
    ),
    (Intent.REPLY_MAIL, _PLEASE + r"(?:reply|answer|respond|responde(?:le)?|contesta(?:le)?)\b.*\b(?:to|a|al)\b"),
    (
        Intent.SEND_MAIL,
        _PLEASE
        + r"(?:send|write|manda(?:le)?|envia(?:le)?|escribe(?:le)?|(?:e-?mail|mail)(?! (?:from|about|me|de|del|sobre)\b)(?= \w))\b(?! me\b)",
    ),
    (
        Intent.READ_MAIL,
        _PLEASE + rf"(?:read|open|lee(?:me)?|abre)\b.*\b{_MAIL}\b.*\b(?:from|by|about|de|del|sobre)\b"
        r"|\bwhat did [\w@.-]+ (?:write|e-?mail|send|say)\b|\bque (?:me )?(?:escribio|dijo|mando) \w",
    ),
    (
        Intent.SEARCH_MAIL,
        _PLEASE + rf"(?:search|find|look for|busca)\b.*\b{_MAIL}\b|\b{_MAIL}\b.*\b(?:about|sobre)\b",
    ),
    (
        Intent.LIST_MAIL,
        r"\b(?:list|show|read|check|any|new|unread|see|what|which|have i|do i have|did i get|lista|muestra(?:me)?|ensena(?:me)?|ver|lee|tengo"
        rf"|hay|mira|que)\b.*\b{_MAIL}\b|^(?:my |mis? )?{_MAIL}\W*$|\b{_MAIL}\b.*\b(?:unread|no leid[oa]s?|sin leer)\b",
    ),
    (Intent.THANKS, r"^(?:thanks?|thank you|thx|great|perfect|gracias|perfecto|bye|goodbye|adios|hasta luego)\b"),
    (
        Intent.GREETING,
        r"^(?:hi|hello|hey|good (?:morning|afternoon|evening)|hola|buen[oa]s(?: dias| tardes| noches)?)\b",
    ),
)

_COMPILED = tuple((intent, re.compile(pattern)) for intent, pattern in RULES)

_SPANISH = frozenset(
    [
        "el",
        "la",
        "los",
        "las",
        "un",
        "una",
        "de",
        "del",
        "que",
        "qué",
        "mi",
        "mis",
        "tengo",
        "correo",
        "correos",
        "tarea",
        "tareas",
        "para",
        "con",
        "hola",
        "gracias",
        "por",
        "favor",
        "crea",
        "lista",
        "muestra",
        "manda",
        "envía",
        "envia",
        "escribe",
        "mañana",
        "hoy",
        "lunes",
        "martes",
        "miércoles",
        "jueves",
        "viernes",
        "recuerda",
        "puedes",
        "y",
        "a",
        "al",
    ]
)
_ENGLISH = frozenset(
    [
        "the",
        "a",
        "an",
        "my",
        "i",
        "you",
        "is",
        "are",
        "do",
        "have",
        "what",
        "to",
        "from",
        "for",
        "with",
        "mail",
        "email",
        "emails",
        "task",
        "tasks",
        "please",
        "create",
        "list",
        "show",
        "send",
        "tomorrow",
        "today",
        "and",
        "hello",
        "thanks",
        "read",
        "on",
    ]
)


def fold(text: str) -> str:
    """Lower case without accents; keeps the length wherever a character has a single counterpart."""
    decomposed = unicodedata.normalize("NFD", text.lower().replace("’", "'"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def intent_of(text: str) -> Intent:
    """The intent of the sentence; `UNKNOWN` rather than a guess."""
    folded = fold(text).strip(" ¿?¡!.\t\n")
    for intent, pattern in _COMPILED:
        if pattern.search(folded):
            return intent
    return Intent.UNKNOWN


def is_spanish(texts: list[str]) -> bool:
    """Whether the user writes Spanish, judged by the words of the last few messages."""
    tokens = [w.strip("¿?¡!.,:;").lower() for text in texts[-5:] for w in text.split()]
    spanish = sum(w in _SPANISH for w in tokens) + sum(text.count("¿") + text.count("¡") for text in texts[-5:])
    return spanish > sum(w in _ENGLISH for w in tokens)
