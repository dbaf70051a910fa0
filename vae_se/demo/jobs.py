"""Recordings to enhance, one after the other in a background thread, and their results until they expire."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import queue
import secrets
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import Config
from ..enhancement.enhancer import Enhancer
from ..enhancement.segmented_em import ProgressCallback
from ..errors import VaeSeError
from .process import Result, process

#: Most recordings that wait or are being uploaded, and most results that are kept.
MOST_WAITING, MOST_KEPT = 8, 8

#: Makes the enhancer of a configuration.
MakeEnhancer = Callable[[Config], Enhancer]


class Busy(VaeSeError):
    """There are too many recordings already."""


class Cancelled(Exception):
    """The recording that is being enhanced was removed."""


@dataclasses.dataclass
class Job:
    """A recording and its state: waiting, running, done or failed.

    ``id``: 128 random bits, by which the page that sent the recording finds it again. ``folder``: its files.
    ``progress``: 0 to 1.
    """

    id: str
    folder: Path
    config: Config
    status: str = "waiting"
    progress: float = 0.0
    started: float | None = None
    result: Result | None = None
    error: str = ""
    hint: str = ""
    removed: bool = False

    def row(self, ahead: int) -> dict[str, Any]:
        """What the page is told, JSON-able; ``ahead``: number of recordings before this one."""
        return {
            "id": self.id,
            "status": self.status,
            "ahead": ahead,
            "progress": self.progress,
            "elapsed": time.monotonic() - self.started if self.started is not None else 0.0,
            "result": dataclasses.asdict(self.result) if self.result else None,
            "error": self.error,
            "hint": self.hint,
        }


class Jobs:
    """All recordings of a server. ``with Jobs(make) as jobs``: the end of the block removes all files."""

    def __init__(self, make_enhancer: MakeEnhancer, log: Callable[[str], None] = lambda line: None) -> None:
        self._make, self._log = make_enhancer, log
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}  # in order of arrival
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="vae-se demo", daemon=True)

    def __enter__(self) -> Jobs:
        self._root = Path(tempfile.mkdtemp(prefix="vae-se-demo-"))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for job in self._jobs.values():
                job.removed = True
        self._queue.put(None)
        self._thread.join(timeout=5.0)
        shutil.rmtree(self._root, ignore_errors=True)

    def reserve(self, config: Config) -> Job:
        """A job with an empty folder, for :meth:`submit` or :meth:`remove`. Raises Busy."""
        with self._lock:
            open_jobs = [job for job in self._jobs.values() if job.result is None and not job.error]
            if len(open_jobs) >= MOST_WAITING:
                raise Busy(f"{len(open_jobs)} recordings are waiting", "try again in a minute")
            over = len(self._jobs) - len(open_jobs) - MOST_KEPT + 1
            finished = [job for job in self._jobs.values() if job not in open_jobs]
            for job in finished[: max(0, over)]:
                self._forget(job)
            name = secrets.token_hex(16)
            folder = self._root / name
            folder.mkdir()
            job = self._jobs[name] = Job(name, folder, config)
            return job

    def submit(self, job: Job) -> None:
        """Enhance the file that was uploaded into the job's folder, after those before it."""
        self._queue.put(job)

    def find(self, name: str) -> Job | None:
        """The job with that id."""
        with self._lock:
            return self._jobs.get(name)

    def row(self, job: Job) -> dict[str, Any]:
        """What the page is told about a job."""
        with self._lock:
            earlier = itertools.takewhile(lambda one: one is not job, self._jobs.values())
            return job.row(sum(one.status in ("waiting", "running") for one in earlier))

    def remove(self, job: Job) -> None:
        """Stop a job where it is not done, and remove its files."""
        with self._lock:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        job.removed = True
        self._jobs.pop(job.id, None)
        if job.status != "running":  # otherwise the thread removes them
            shutil.rmtree(job.folder, ignore_errors=True)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                if job.removed:
                    continue
                job.status, job.started = "running", time.monotonic()
            with contextlib.suppress(Cancelled):
                self._run(job)
            with self._lock:
                if job.removed:
                    shutil.rmtree(job.folder, ignore_errors=True)

    def _run(self, job: Job) -> None:
        """Enhance one recording; every error becomes one of the job."""
        try:
            result = process(job.folder, self._make(job.config), _progress(job))
        except Cancelled:
            raise
        except VaeSeError as error:
            status, job.error, job.hint = "failed", error.message, error.hint
        except Exception as error:
            self._log(traceback.format_exc())
            status, job.error = "failed", f"unexpected {type(error).__name__}: {error}"
            job.hint = "the terminal shows more"
        else:
            status, job.result, job.progress = "done", result, 1.0
        job.status = status


def _progress(job: Job) -> ProgressCallback:
    """Notes the progress of a job; raises Cancelled once the job is removed."""

    def note(done: int, total: int) -> None:
        if job.removed:
            raise Cancelled
        job.progress = done / total

    return note
