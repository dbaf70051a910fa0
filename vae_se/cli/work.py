"""One file from input to output: read, enhance, write, and a row about it. Runs wherever an executor says."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audio import files, paths
from ..config import Config
from ..errors import AudioError, OutputError, UsageError, VaeSeError
from ..execution import Died, Handle
from .common import deferred_interrupt
from .pictures import draw_picture

if TYPE_CHECKING:
    import numpy as np

    from ..enhancement.enhancer import Enhancer, Info

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every file of a run shares. Pickled to the workers."""

    config: Config
    device: str = "auto"
    clip: str = "clamp"
    save_noise: bool = False
    overwrite: bool = False
    pictures: dict[str, Path] = dataclasses.field(default_factory=dict)  # by the input's label
    shared_noise: dict[str, str] = dataclasses.field(default_factory=dict)  # dictionaries, by the same
    raw: files.RawFormat | None = None  # of inputs without a header
    debug: bool = False


@dataclasses.dataclass
class Outcome:
    """What became of one input; :meth:`row` is the object that ``--json`` prints.

    ``output`` is ``-`` for stdout, and None for an input of which none could be named.

    ``status`` is done, skipped or failed. ``duration`` is that of the audio and ``seconds`` what
    enhancing it took (a batch is shared out by duration); ``rtf`` is their ratio.
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
    rhat: float | None = None
    noise_output: str | None = None
    picture: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None
    hint: str | None = None

    def row(self) -> dict[str, Any]:
        """JSON-able: null for what is not finite."""
        values = dataclasses.asdict(self).items()
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values}


class Worker:
    """An enhancer that is loaded once, and what is done with each file."""

    def __init__(self, settings: Settings) -> None:
        with deferred_interrupt():
            from ..enhancement.enhancer import Enhancer

        self.settings = settings
        self.enhancer: Enhancer = Enhancer.from_pretrained(config=settings.config, device=settings.device)
        if settings.pictures and self.enhancer.prior is None:
            raise UsageError(f"--plot shows inference, and {settings.config.method} has none", "leave one out")
        self._enhancers: dict[str | None, Enhancer] = {None: self.enhancer}  # by the noise that they share

    def _enhancer(self, shared: str | None) -> Enhancer:
        if shared not in self._enhancers:
            from ..enhancement.shared_noise import sharing

            assert shared is not None
            self._enhancers[shared] = sharing(self.enhancer, shared)
        return self._enhancers[shared]

    def run(self, jobs: Sequence[paths.Job], progress: Progress | None = None) -> list[Outcome]:
        """Enhance files, together where there are several of one rate and, in groups, of one noise.

        Whatever goes wrong with one becomes a failed row: the other files go on.
        """
        outcomes = {job: describe(job, self.settings.config, self.enhancer.prior is None) for job in jobs}
        groups: dict[tuple[int, str | None], dict[paths.Job, files.Recording]] = {}
        for job in jobs:
            with self._failing_into(outcomes[job]):
                self._prepare(job, outcomes[job])
                shared = self.settings.shared_noise.get(job.source.label)
                if self._is_long(job):
                    self._long(job, self._enhancer(shared), outcomes[job], progress)
                    continue
                recording = self._read(job)
                groups.setdefault((recording.rate, shared), {})[job] = recording
        for (rate, shared), group in groups.items():
            enhancer = self._enhancer(shared)
            if len(group) > 1 and self._together(enhancer, rate, group, outcomes):
                continue
            for job, recording in group.items():
                with self._failing_into(outcomes[job]):
                    started = time.perf_counter()
                    speech, info = enhancer.enhance(
                        recording.samples,
                        rate,
                        return_info=True,
                        posterior=bool(self.settings.pictures),
                        progress=progress,
                    )
                    self._finish(job, recording, speech, info, time.perf_counter() - started, outcomes[job])
        return list(outcomes.values())

    def _together(
        self,
        enhancer: Enhancer,
        rate: int,
        group: dict[paths.Job, files.Recording],
        outcomes: dict[paths.Job, Outcome],
    ) -> bool:
        """Enhance recordings of one rate as a batch; False where that fails, and each is to be tried alone."""
        started = time.perf_counter()
        try:
            speech, infos = enhancer.enhance_batch(
                [recording.samples for recording in group.values()],
                rate,
                return_info=True,
                posterior=bool(self.settings.pictures),
            )
        except Exception:
            return False
        speed = (time.perf_counter() - started) / sum(recording.seconds for recording in group.values())
        for (job, recording), one, info in zip(group.items(), speech, infos, strict=True):
            with self._failing_into(outcomes[job]):
                self._finish(job, recording, one, info, speed * recording.seconds, outcomes[job])
        return True

    @contextmanager
    def _failing_into(self, outcome: Outcome) -> Iterator[None]:
        """What is raised inside becomes the reason of a failed row."""
        try:
            yield
        except VaeSeError as error:
            outcome.error, outcome.hint = str(error), error.hint
            self._trace()
        except MemoryError:
            outcome.error = f"{outcome.input}: out of memory"
            outcome.hint = "fewer --jobs, a shorter --segment, or --preset fast"
        except Exception as error:
            outcome.error = f"{outcome.input}: unexpected {type(error).__name__}: {error}"
            outcome.hint = "run again with --debug and report what it shows"
            self._trace()

    def _trace(self) -> None:
        if self.settings.debug:
            traceback.print_exc(file=sys.stderr)

    def _prepare(self, job: paths.Job, outcome: Outcome) -> None:
        """What can be known to be wrong about the output before the computing starts."""
        assert job.target is not None
        files.prepare_folder(job.target)
        if self.settings.save_noise:
            outcome.noise_output = str(paths.noise_target(job.target))
        picture = self.settings.pictures.get(job.source.label)
        if picture is not None:
            if picture.exists() and not self.settings.overwrite:
                raise OutputError(f"the picture {picture} exists already", "give --overwrite")
            files.prepare_folder(picture)

    def _read(self, job: paths.Job) -> files.Recording:
        assert job.source.path is not None
        with unchanged(job.source.path):
            return files.read(job.source.path, job.source.label, self.settings.raw)

    def _is_long(self, job: paths.Job) -> bool:
        """Whether a file goes through in parts. Pictures and pipes are of whole recordings."""
        from ..enhancement.long_file import is_long

        path = job.source.path
        if path is None or job.source.label in self.settings.pictures or not path.is_file():
            return False
        return self.enhancer.prior is not None and is_long(path, self.settings.raw, job.source.label)

    def _long(
        self, job: paths.Job, enhancer: Enhancer, outcome: Outcome, progress: Progress | None = None
    ) -> None:
        from ..enhancement.long_file import enhance_long

        assert job.source.path is not None
        assert job.target is not None
        noise = Path(outcome.noise_output) if outcome.noise_output is not None else None
        duration, info = enhance_long(
            enhancer.segmented_em, enhancer.config.output, job.source.path, job.target,
            clip=self.settings.clip, noise=noise, raw=self.settings.raw, label=job.source.label,
            progress=progress,
        )  # fmt: skip
        self._complete(outcome, duration, info.seconds, info, info.warnings)

    def _finish(
        self,
        job: paths.Job,
        recording: files.Recording,
        speech: np.ndarray,
        info: Info,
        seconds: float,
        outcome: Outcome,
    ) -> None:
        """Write what was made, and complete the row."""
        clip = self.settings.clip
        assert job.target is not None
        if outcome.noise_output is not None:
            # First: where the speech is there, so is its noise; noise alone is of a run that was cut off.
            files.write(outcome.noise_output, info.noise, recording, clip)
        warnings = files.write(job.target, speech, recording, clip)
        picture = self.settings.pictures.get(outcome.input)
        if picture is not None:
            signal, title = self.enhancer.prior.signal, outcome.input
            if draw_picture(recording.samples, speech, recording.rate, info, signal, title, picture):
                outcome.picture = str(picture)
        said = [*recording.warnings, *info.warnings, *warnings]
        self._complete(outcome, recording.seconds, seconds, info, said)

    @staticmethod
    def _complete(
        outcome: Outcome, duration: float, seconds: float, info: Info, warnings: Sequence[str]
    ) -> None:
        outcome.status = "done"
        outcome.duration, outcome.seconds = duration, seconds
        outcome.rtf = seconds / duration
        outcome.warnings += warnings
        outcome.iterations = info.iterations
        outcome.objective = info.objective[-1] if info.objective else None
        outcome.acceptance, outcome.ess, outcome.rhat = info.acceptance, info.ess, info.rhat


def describe(job: paths.Job, config: Config, baseline: bool = False) -> Outcome:
    """The row of a job before it is run; a baseline has no prior."""
    target = "-" if job.target is None else str(job.target)
    output = None if job.source.problem is not None else target
    prior = None if baseline else config.prior
    return Outcome(input=job.source.label, output=output, method=config.method, prior=prior)


def died(job: paths.Job, config: Config, death: Died) -> Outcome:
    """The row of a job that no worker survived."""
    outcome = describe(job, config)
    outcome.error, outcome.hint = f"{outcome.input}: {death.reason}", "out of memory? fewer --jobs"
    return outcome


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """AudioError where a file changes inside the block, as one does that is still being copied."""
    before = files.fingerprint(path)
    yield
    if files.fingerprint(path) != before:
        raise AudioError(f"{path} changed while it was read", "run again when nothing writes to it any more")


def make(settings: Settings, progress: Progress | None = None) -> Handle:
    """What an executor calls in every worker; ``progress`` is for one in this process."""
    worker = Worker(settings)
    return lambda jobs: worker.run(jobs, progress)
