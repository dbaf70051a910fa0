"""Run the notebooks of this folder from top to bottom, and store them with their outputs.

pip install 'vae-se[plot]' nbclient ipykernel
python examples/run_notebooks.py            # or the names of some
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook after it was run in its folder; nbclient.CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(path.parent)}})
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
    return notebook


def main() -> None:
    """Run and store the notebooks that the arguments name, or all."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(run(path), path)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
