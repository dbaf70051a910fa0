"""The page that maps equations to lines does point at them."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_line_numbers_are_true():
    spec = importlib.util.spec_from_file_location("update_lines", ROOT / "docs" / "update_lines.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "model.md").read_text()
    assert module.ROW.search(page)
    assert module.updated(page) == page, "run python docs/update_lines.py"
