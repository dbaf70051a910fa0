"""One file from input to output: read, enhance, write, and a row about it. Runs here or in a pool."""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audio import files, paths
from ..config import Config
from ..errors import OutputError, VaeSeError
from .common import deferred_interrupt

if TYPE_CHECKING:
    from ..enhancer import Enhancer

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every file of a run shares. Pickled to the workers."""

    config: Config
    device: str = "auto"
    clip: str = "clamp"
    save_noise: bool = False
    overwrite: bool = False
    debug: bool = False


@dataclasses.dataclass
class Outcome:
    """What became of one input; :meth:`row` is the object that ``--json`` prints.

    ``output`` is ``-`` for stdout, and None for an input of which none could be named.

    ``status`` is done, skipped or failed. ``duration`` is that of the audio and ``seconds`` the time
    spent, both in seconds; ``rtf`` their ratio.
    """

    input: str
    output: str | None
    status: str = "failed"
    duration: float | None = None
    seconds: float | None = None
    rtf: float | None = None
    method: str = ""
    prior: str | None = None
    iterations: int | None = None
    objective: float | None = None
    acceptance: float | None = None
    ess: float | None = None
    noise_output: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None
    hint: str | None = None
    data: bytes | None = None  # a WAV for stdout

    def row(self) -> dict[str, Any]:
        """JSON-able: no bytes, and null for what is not finite."""
        row = dataclasses.asdict(self)
        del row["data"]
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


class Worker:
    """An enhancer that is loaded once, and what is done with each file."""

    def __init__(self, settings: Settings) -> None:
        with deferred_interrupt():
            from ..enhancer import Enhancer

        self.settings = settings
        self.enhancer: Enhancer = Enhancer.from_pretrained(config=settings.config, device=settings.device)

    def run(self, job: paths.Job, stdin: bytes | None = None, progress: Progress | None = None) -> Outcome:
        """Enhance one file. Whatever goes wrong becomes a failed row: the other files go on."""
        outcome = describe(job, self.settings.config)
        if self.enhancer.prior is None:  # a baseline
            outcome.prior = None
        try:
            self._enhance(job, stdin, outcome, progress)
        except VaeSeError as error:
            outcome.error, outcome.hint = str(error), error.hint
            self._trace()
        except MemoryError:
            outcome.error, outcome.hint = "out of memory", "fewer --jobs, or --preset fast"
        except Exception as error:
            outcome.error = f"{outcome.input}: unexpected {type(error).__name__}: {error}"
            outcome.hint = "run again with --debug and report what it shows"
            self._trace()
        return outcome

    def _trace(self) -> None:
        if self.settings.debug:
            traceback.print_exc(file=sys.stderr)

    def _enhance(
        self, job: paths.Job, stdin: bytes | None, outcome: Outcome, progress: Progress | None
    ) -> None:
        started = time.perf_counter()
        source, target, clip = job.source, job.target, self.settings.clip
        recording = files.read(stdin or b"", source.label) if source.path is None else files.read(source.path)
        if target is not None:
            files.prepare_folder(target)
            if self.settings.save_noise:
                outcome.noise_output = str(self._noise_target(target))
        speech, info = self.enhancer.enhance(
            recording.samples, recording.rate, return_info=True, progress=progress
        )
        if target is None:
            outcome.data, warnings = files.to_bytes(speech, recording, clip)
        else:
            warnings = files.write(target, speech, recording, clip)
            if outcome.noise_output is not None:
                files.write(outcome.noise_output, info.noise, recording, clip)
        outcome.status = "done"
        outcome.duration = recording.seconds
        outcome.seconds = time.perf_counter() - started
        outcome.rtf = outcome.seconds / recording.seconds
        outcome.warnings += [*info.warnings, *warnings]
        outcome.iterations = info.iterations
        outcome.objective = info.objective[-1] if info.objective else None
        outcome.acceptance, outcome.ess = info.acceptance, info.ess

    def _noise_target(self, target: Path) -> Path:
        """Asked before the computing starts: an existing file is not replaced unasked."""
        noise = paths.noise_target(target)
        if noise.exists() and not self.settings.overwrite:
            raise OutputError(f"the noise file {noise} exists already", "give --overwrite")
        return noise


def describe(job: paths.Job, config: Config) -> Outcome:
    """The row of a job before it is run."""
    target = "-" if job.target is None else str(job.target)
    output = None if job.source.problem is not None else target
    return Outcome(input=job.source.label, output=output, method=config.method, prior=config.prior)


def run_here(
    worker: Worker, jobs: Sequence[paths.Job], stdin: bytes | None, progress: Progress
) -> Iterator[Outcome]:
    """One file after the other, in this process."""
    for job in jobs:
        yield worker.run(job, stdin, progress)


def run_pool(
    settings: Settings, jobs: Sequence[paths.Job], stdin: bytes | None, workers: int
) -> Iterator[Outcome]:
    """Files spread over processes, outcomes in the order of the inputs.

    Each file has its own random stream, so the results are those of :func:`run_here`. Workers are spawned
    (torch does not survive a fork once it has threads) and ignore ^C: this process stops them.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=_start, initargs=(settings,))
    try:
        futures = [pool.submit(_run, job, stdin) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                outcome = describe(job, settings.config)
                outcome.error, outcome.hint = (
                    f"{outcome.input}: a worker died",
                    "out of memory? try fewer --jobs",
                )
                yield outcome
    except BaseException:
        # ^C, or the reader went away: what is under way is dropped, and the workers clean up after themselves.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        raise
    pool.shutdown()


_worker: Worker | None = None


def _start(settings: Settings) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    _worker = Worker(settings)


def _stop(*_: object) -> None:
    """SIGTERM unwinds the stack, so that no temporary file stays behind."""
    raise SystemExit(143)


def _run(job: paths.Job, stdin: bytes | None) -> Outcome:
    assert _worker is not None
    return _worker.run(job, stdin)
