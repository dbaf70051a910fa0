"""Put the present line numbers into docs/model.md: python docs/update_lines.py [--check]

A row of its tables ends in ``[file:line](link) `snippet` ``; the line is where the snippet stands.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"\[(?P<file>[\w/]+\.py):\d+\]\(\.\./[\w/]+\.py#L\d+\) `(?P<snippet>[^`]+)`")


def updated(text: str) -> str:
    """The text with all line numbers as they are now; ValueError for a snippet that is gone or twice there."""

    def line(match: re.Match[str]) -> str:
        file, snippet = match["file"], match["snippet"]
        lines = (ROOT / file).read_text().splitlines()
        found = [i for i, content in enumerate(lines, 1) if snippet in content]
        if len(found) != 1:
            raise ValueError(f"{snippet!r} stands in {len(found)} lines of {file}")
        return f"[{file}:{found[0]}](../{file}#L{found[0]}) `{snippet}`"

    return ROW.sub(line, text)


if __name__ == "__main__":
    page = ROOT / "docs" / "model.md"
    old = page.read_text()
    new = updated(old)
    if "--check" in sys.argv:
        sys.exit("docs/model.md: run python docs/update_lines.py" if old != new else 0)
    page.write_text(new)
