"""What a noisy encoder is trained on, and where its results go."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from .job import TrainingJob
from .noisy_encoder_options import NoisyEncoderOptions


@dataclasses.dataclass(frozen=True)
class SpeechFolder:
    """A folder of clean speech, searched recursively, and the relative frequency of cuts from it."""

    path: Path
    weight: float = 1.0

    @classmethod
    def of(cls, text: str) -> SpeechFolder:
        """From ``FOLDER`` or ``FOLDER=WEIGHT``; UsageError for a weight that is not a number above 0.

        >>> SpeechFolder.of("speech/a=0.5").weight
        0.5
        """
        name, equals, weight = text.rpartition("=")
        if not equals or Path(text).is_dir():
            return cls(Path(text))
        try:
            value = float(weight)
        except ValueError:
            value = float("nan")
        if not 0 < value < float("inf"):
            raise UsageError(f"{text}: {weight!r} is no weight", "expected FOLDER or FOLDER=WEIGHT, above 0")
        return cls(Path(name), value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoisyEncoderJob(TrainingJob):
    """Training of a noisy encoder.

    - ``data``: a folder of clean speech, or several with weights. Without ``valid`` (job.py) speakers of each
      are held out;
    - ``prior``: name or folder of its prior;
    - ``noise``: a folder of recorded noise instead of simulated noise;
    - ``noise_pool``: a folder of noise that was simulated beforehand (``vae-se noise pool``);
    - ``valid_pool``: another one for validation. Without it, one noise of twenty is held out;
    - ``workers``: processes that draw mixtures ahead, beside the one that trains. The result does not depend on
      it.
    """

    data: Path | Sequence[SpeechFolder]
    prior: str
    options: NoisyEncoderOptions = dataclasses.field(default_factory=NoisyEncoderOptions)
    noise: Path | None = None
    noise_pool: Path | None = None
    valid_pool: Path | None = None
    workers: int = 0

    def folders(self) -> Sequence[SpeechFolder]:
        """The speech, in folders with weights; UsageError where there is none."""
        folders = [SpeechFolder(self.data)] if isinstance(self.data, Path) else self.data
        if not folders:
            raise UsageError("no folder of clean speech", "pass one, or several as FOLDER=WEIGHT")
        return folders
