"""Result files: one JSON line per file and method, and a header file beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OutputError, UsageError
from ..portable import lock_file
from ..storage.atomic import write_atomically

Row = dict[str, Any]


def read_rows(path: Path) -> tuple[list[Row], int]:
    """The rows of a file, and the size in bytes of the part that holds complete rows.

    A last line without a newline was cut off by a crash and is left out. Raises UsageError for any other line
    that is not a row.
    """
    data = path.read_bytes()
    size = data.rfind(b"\n") + 1
    rows = []
    for number, line in enumerate(data[:size].splitlines(), 1):
        try:
            row = json.loads(line)
            row["id"], row["method"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}, line {number} is not a result: {error}", "remove that line") from error
        rows.append(row)
    return rows, size


class RowFile:
    """An append-only file of rows, locked against other runs; :meth:`append` waits for the disk."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Open for appending, after truncation to ``size`` bytes where it is given (an incomplete last line).

        Raises OutputError where another run has the file open, or it cannot be written.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            # The lock comes before the truncation: another run may be writing this file.
            lock_file(self._fd)
            if size is not None:
                os.ftruncate(self._fd, size)
        except BlockingIOError:
            os.close(self._fd)
            raise OutputError(f"another run is writing {path}", "wait for it, or use another --out") from None
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}", "check the folder") from error

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row. Raises OutputError, for example on a full disk, and leaves no incomplete line."""
        data = (json.dumps(row, allow_nan=False) + "\n").encode()
        before = os.fstat(self._fd).st_size
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:])
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, before)
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}",
                "all earlier rows are safe: free some space, then run the same command with --resume",
            ) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def meta_path(rows: Path) -> Path:
    """The path of the header of a file of rows."""
    return rows.with_suffix(".meta.json")


def write_json(path: Path, value: object) -> None:
    """Write a JSON file atomically. Raises OutputError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "check the folder") from error


def read_meta(rows: Path) -> dict[str, Any]:
    """The header of a file of rows. Raises UsageError where it is missing or damaged."""
    path = meta_path(rows)
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        meta["protocol"]["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is missing or damaged: {error}", "restore it, or run the protocol with another --out"
        ) from error
    return dict(meta)
