"""The examples of docs/extending.md that are whole files."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
_FILE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.M | re.S)


def example_files(folder: str) -> dict[str, str]:
    """Those below a folder, by their paths in it."""
    found = {
        path.removeprefix(folder): text for path, text in _FILE.findall(PAGE.read_text()) if path.startswith(folder)
    }
    assert found, f"docs/extending.md has no example in {folder}"
    return found
