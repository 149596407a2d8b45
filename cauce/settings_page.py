"""Generates docs/settings.md from the settings themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cauce.settings import SECTIONS, full_name, plain_settings, variables

_HEAD = """# Settings

Settings come from the command line, `CAUCE_*` variables, `cauce.toml` in the working directory (or the file that `--config` or
`CAUCE_CONFIG` names) and defaults; earlier sources take precedence. `cauce settings --out docs/settings.md` generates this page.

```toml
# cauce.toml
model = "ollama:llama3.2"

[gateway]
port = 8123
```

A setting of a section may also be written outside its table, under its full name: `gateway_port = 8123`.
"""


def page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD, _table({name: (name, field) for name, field in plain_settings().items()})]
    for name, section in SECTIONS.items():
        about = (section.__doc__ or "").strip().splitlines()[0]
        fields = {full_name(name, own): (own, field) for own, field in section.model_fields.items()}
        parts += [f"## [{name}]\n\n{about}\n", _table(fields)]
    return "\n".join(parts)


def _table(fields: dict[str, tuple[str, FieldInfo]]) -> str:
    """By name outside of tables: the name in its table, and the field."""
    rows = ["| setting | variable | default | |", "|---|---|---|---|"]
    for full, (name, field) in fields.items():
        names = ", ".join(f"`{variable}`" for variable in variables()[full])
        rows.append(f"| `{name}` | {names} | {_default(field)} | {_escaped(field.description or '')} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None or value is PydanticUndefined:
        return ""
    return f"`{value if isinstance(value, str | Path) else repr(value)}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
