"""Enhancement of files in a worker: read, enhance, write, and report on each. Any executor can run it."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..audio import files, paths, tags
from ..config import METHODS, Config, effective
from ..errors import AudioError, OutputError, UsageError, VaeSeError
from ..execution import Died, Handle
from ..storage.atomic import write_atomically
from .common import deferred_interrupt, import_torch, out_of_memory
from .pictures import draw_picture
from .side_files import PICTURE, VAD

if TYPE_CHECKING:
    import numpy as np

    from ..enhancement.enhancer import Enhancer, Info
    from ..enhancement.segmented_em import ProgressCallback


class Progress(NamedTuple):
    """The ``fraction`` of the work on the input ``label`` that is done."""

    label: str
    fraction: float


ReportProgress = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True)
class FileSettings:
    """Settings that all files of a run share; pickled to the workers.

    ``pictures`` and ``vad``: files for ``--plot`` and ``--vad``, by the label of the input. ``shared_noise``:
    noise dictionaries of ``--noise-group``, by the label of the input. ``raw``: format of inputs without a
    header. The other fields are the options of the command line.
    """

    config: Config
    device: str = "auto"
    threads: int | None = None
    clip: str = "clamp"
    save_noise: bool = False
    draws: int = 0
    overwrite: bool = False
    pictures: dict[str, Path] = dataclasses.field(default_factory=dict)
    vad: dict[str, Path] = dataclasses.field(default_factory=dict)
    shared_noise: dict[str, str] = dataclasses.field(default_factory=dict)
    raw: files.RawFormat | None = None
    noise_group: str | None = None
    debug: bool = False

    @functools.cached_property
    def digest(self) -> str:
        """The digest of all settings that change the samples of an output.

        It needs the kernels, and so torch: a command whose work is done by other processes leaves it to them.
        """
        import_torch()
        from ..assemble import own_defaults

        config = effective(self.config)
        # A setting that is left at its part's default and one that spells it out are the same.
        values = {key: value for key, value in config.flat().items() if value is not None}
        if config.method in METHODS:
            values = {k: v for k, v in own_defaults(config).items() if v is not None} | values
        return tags.digest({**values, "clip": self.clip, "noise_group": self.noise_group})

    @property
    def comment(self) -> str:
        """The comment of the outputs."""
        return tags.comment(self.digest)


@dataclasses.dataclass
class FileOutcome:
    """Outcome of one input; :meth:`row` is the object that ``--json`` prints.

    ``output``: ``-`` for stdout, None for an input that cannot be read. ``status``: done, skipped or failed.
    ``duration``: of the audio in seconds. ``seconds``: computing time (that of a batch is split in proportion
    to duration). ``rtf``: real-time factor, the ratio of the two. ``snr_db``, ``segment_snr_db`` and
    ``trusted``: see :class:`~vae_se.enhancement.results.Info`.
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
    snr_db: float | None = None
    segment_snr_db: list[float | None] = dataclasses.field(default_factory=list)
    trusted: bool | None = None
    noise_output: str | None = None
    draw_outputs: list[str] = dataclasses.field(default_factory=list)
    picture: str | None = None
    vad: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None
    hint: str | None = None

    def row(self) -> dict[str, Any]:
        """The fields as JSON values; None for numbers that are not finite."""
        values = dataclasses.asdict(self).items()
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values}


class FileWorker:
    """Enhances files with an enhancer that is loaded once."""

    def __init__(self, settings: FileSettings, report: ReportProgress | None = None) -> None:
        """``report`` is called with the progress of the files that are being enhanced."""
        with deferred_interrupt():
            import_torch()
            from ..enhancement.enhancer import Enhancer

        self.settings, self._report = settings, report
        self.enhancer: Enhancer = Enhancer.from_pretrained(
            config=settings.config, device=settings.device, threads=settings.threads
        )
        if settings.draws and self.enhancer.prior is None:
            raise UsageError(f"{settings.config.method} has no posterior to draw from", "omit --draws")
        if settings.pictures and self.enhancer.prior is None:
            raise UsageError(
                f"--plot shows inference, which {settings.config.method} does not run", "omit one of them"
            )
        self._enhancers: dict[str | None, Enhancer] = {None: self.enhancer}  # by noise dictionary

    def _enhancer(self, shared: str | None) -> Enhancer:
        if shared not in self._enhancers:
            from ..enhancement.shared_noise import sharing

            assert shared is not None
            self._enhancers[shared] = sharing(self.enhancer, shared)
        return self._enhancers[shared]

    def _progress(self, jobs: Iterable[paths.FileJob]) -> ProgressCallback | None:
        """The progress of files that are enhanced together."""
        report, labels = self._report, [job.source.label for job in jobs]
        if report is None:
            return None

        def progress(done: int, total: int) -> None:
            for label in labels:
                report(Progress(label, done / total))

        return progress

    def run(self, jobs: Sequence[paths.FileJob]) -> list[FileOutcome]:
        """Enhance files; those with the same rate and the same shared noise form a batch.

        An error in one file becomes a failed outcome and does not stop the others.
        """
        outcomes = {job: describe(job, self.settings.config, self.enhancer.prior is None) for job in jobs}
        groups: dict[tuple[int, str | None], dict[paths.FileJob, files.Recording]] = {}
        for job in jobs:
            with self._failing_into(outcomes[job]):
                self._prepare(job, outcomes[job])
                shared = self.settings.shared_noise.get(job.source.label)
                if self._is_long(job):
                    self._long(job, self._enhancer(shared), outcomes[job])
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
                        draws=self.settings.draws,
                        speech_presence=bool(self.settings.vad),
                        progress=self._progress([job]),
                        check_shape=False,
                    )
                    self._finish(job, recording, speech, info, time.perf_counter() - started, outcomes[job])
        return list(outcomes.values())

    def _together(
        self,
        enhancer: Enhancer,
        rate: int,
        group: dict[paths.FileJob, files.Recording],
        outcomes: dict[paths.FileJob, FileOutcome],
    ) -> bool:
        """Enhance recordings of one rate as a batch; False where that fails: then each is tried alone."""
        started = time.perf_counter()
        try:
            speech, infos = enhancer.enhance_batch(
                [recording.samples for recording in group.values()],
                rate,
                return_info=True,
                posterior=bool(self.settings.pictures),
                draws=self.settings.draws,
                speech_presence=bool(self.settings.vad),
                progress=self._progress(group),
                check_shape=False,
            )
        except Exception:
            return False
        speed = (time.perf_counter() - started) / sum(recording.seconds for recording in group.values())
        for (job, recording), one, info in zip(group.items(), speech, infos, strict=True):
            with self._failing_into(outcomes[job]):
                self._finish(job, recording, one, info, speed * recording.seconds, outcomes[job])
        return True

    @contextmanager
    def _failing_into(self, outcome: FileOutcome) -> Iterator[None]:
        """Turn an exception inside the block into a failed outcome."""
        try:
            yield
        except VaeSeError as error:
            outcome.error, outcome.hint = error.message, error.hint
            self._trace()
        except Exception as error:
            if out_of_memory(error):
                outcome.error = f"{outcome.input}: out of memory"
                outcome.hint = "fewer --jobs, a shorter --segment, or --preset fast"
            else:
                outcome.error = f"{outcome.input}: unexpected {type(error).__name__}: {error}"
                outcome.hint = "run again with --debug and report the output"
            self._trace()

    def _trace(self) -> None:
        if self.settings.debug:
            traceback.print_exc(file=sys.stderr)

    def _prepare(self, job: paths.FileJob, outcome: FileOutcome) -> None:
        """Check the outputs before the computation starts. Raises OutputError."""
        assert job.target is not None
        files.prepare_folder(job.target)
        if self.settings.save_noise:
            outcome.noise_output = str(paths.noise_target(job.target))
        for kind, planned in ((PICTURE, self.settings.pictures), (VAD, self.settings.vad)):
            path = planned.get(job.source.label)
            if path is not None:
                if path.exists() and not self.settings.overwrite:
                    raise OutputError(f"the {kind.name} {path} exists already", "give --overwrite")
                files.prepare_folder(path)

    def _read(self, job: paths.FileJob) -> files.Recording:
        assert job.source.path is not None
        with unchanged(job.source.path):
            return files.read(job.source.path, job.source.label, self.settings.raw)

    def _is_long(self, job: paths.FileJob) -> bool:
        """Whether a file is enhanced in blocks; not for a picture or posterior draws, nor from a pipe."""
        from ..enhancement.long_file import is_long

        path = job.source.path
        whole = self.settings.draws > 0 or job.source.label in self.settings.pictures
        if path is None or whole or not path.is_file():
            return False
        return self.enhancer.prior is not None and is_long(path, self.settings.raw, job.source.label)

    def _long(self, job: paths.FileJob, enhancer: Enhancer, outcome: FileOutcome) -> None:
        from ..enhancement.long_file import enhance_long

        assert job.source.path is not None
        assert job.target is not None
        noise = Path(outcome.noise_output) if outcome.noise_output is not None else None
        duration, info = enhance_long(
            enhancer.segmented_em, enhancer.config.output, job.source.path, job.target,
            clip=self.settings.clip, noise=noise, raw=self.settings.raw, label=job.source.label,
            progress=self._progress([job]), comment=self.settings.comment,
            speech_presence=bool(self.settings.vad),
        )  # fmt: skip
        self._write_segments(outcome, info, duration)
        self._complete(outcome, duration, info.seconds, info, info.warnings)

    def _finish(
        self,
        job: paths.FileJob,
        recording: files.Recording,
        speech: np.ndarray,
        info: Info,
        seconds: float,
        outcome: FileOutcome,
    ) -> None:
        """Write the outputs and complete the outcome."""
        clip = self.settings.clip
        assert job.target is not None
        if outcome.noise_output is not None:
            # The noise first: a run that is cut off may leave noise without speech, never the reverse.
            alone = dataclasses.replace(recording, origin=None)  # the sound without pictures
            files.write(outcome.noise_output, info.noise, alone, clip, self.settings.comment)
        for number, drawn in enumerate(info.draws, 1):
            path = paths.draw_target(job.target, number)
            alone = dataclasses.replace(recording, origin=None)
            files.write(path, drawn, alone, clip, self.settings.comment)
            outcome.draw_outputs.append(str(path))
        warnings = files.write(job.target, speech, recording, clip, self.settings.comment)
        picture = self.settings.pictures.get(outcome.input)
        if picture is not None:
            signal, title = self.enhancer.signal, outcome.input
            if draw_picture(recording.samples, speech, recording.rate, info, signal, title, picture):
                outcome.picture = str(picture)
        self._write_segments(outcome, info, recording.seconds)
        warnings = [*recording.warnings, *info.warnings, *warnings]
        self._complete(outcome, recording.seconds, seconds, info, warnings)

    def _write_segments(self, outcome: FileOutcome, info: Info, seconds: float) -> None:
        """Write the file of ``--vad``, where it is requested."""
        path = self.settings.vad.get(outcome.input)
        if path is not None:
            from ..enhancement.activity import speech_segments, to_csv

            segments = speech_segments(info.speech_presence, self.enhancer.signal, seconds)
            write_atomically(path, to_csv(segments).encode())
            outcome.vad = str(path)

    @staticmethod
    def _complete(
        outcome: FileOutcome, duration: float, seconds: float, info: Info, warnings: Sequence[str]
    ) -> None:
        outcome.status = "done"
        outcome.duration, outcome.seconds = duration, seconds
        outcome.rtf = seconds / duration
        outcome.warnings += warnings
        outcome.iterations = info.iterations
        outcome.objective = info.objective[-1] if info.objective else None
        outcome.acceptance, outcome.ess, outcome.rhat = info.acceptance, info.ess, info.rhat
        outcome.snr_db, outcome.segment_snr_db = info.snr_db, info.segment_snr_db
        outcome.trusted = info.trusted


def describe(job: paths.FileJob, config: Config, baseline: bool = False) -> FileOutcome:
    """The outcome of a job that has not run yet; a ``baseline`` has no prior."""
    target = "-" if job.target is None else str(job.target)
    output = None if job.source.problem is not None else target
    prior = None if baseline else config.prior
    return FileOutcome(input=job.source.label, output=output, method=config.method, prior=prior)


def died(job: paths.FileJob, config: Config, death: Died) -> FileOutcome:
    """The outcome of a job whose worker died."""
    outcome = describe(job, config)
    outcome.error, outcome.hint = f"{outcome.input}: {death.reason}", "out of memory? fewer --jobs"
    return outcome


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Raise AudioError where a file changes inside the block, for example because it is still being copied."""
    before = files.fingerprint(path)
    yield
    if files.fingerprint(path) != before:
        raise AudioError(f"{path} changed while it was read", "run again when nothing writes to it any more")


def make(settings: FileSettings, report: ReportProgress | None = None) -> Handle:
    """Make the handler of a worker; executors call this in every worker."""
    return FileWorker(settings, report).run
