"""The notebooks of examples/: they run from top to bottom, and what is stored is small."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_small_and_was_run_from_top_to_bottom(path: Path) -> None:
    assert path.stat().st_size < 150_000
    notebook = json.loads(path.read_text(encoding="utf-8"))
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert [output for output in outputs(notebook) if output["output_type"] == "error"] == []
    assert any("<audio" in "".join(output.get("data", {}).get("text/html", "")) for output in outputs(notebook))
    # Nothing of the machine that it ran on.
    assert str(ROOT) not in path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient", reason="no nbclient: pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="no ipykernel: pip install nbclient ipykernel")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    # Without data, the first notebook learns from the clean example: the way of most readers.
    monkeypatch.setenv("VAE_SE_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "examples" / "run_notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = set(os.listdir(tmp_path / "examples"))
    ran = module.run(tmp_path / "examples" / path.name)
    text = "".join(output.get("text", "") for output in outputs(ran))
    assert "SI-SDR: noisy" in text or "computing per second" in text
    # Nothing is written beside the notebook.
    assert set(os.listdir(tmp_path / "examples")) == before
