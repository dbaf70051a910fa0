"""Power spectrograms of a folder of recordings, at the rate, STFT and level of a prior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio import files, paths
from ..audio.level import active_rms
from ..audio.resample import resample
from ..errors import AudioError
from ..numerics import SILENCE_RMS

if TYPE_CHECKING:
    import torch


def powers(
    folder: str, prior: Any, limit: int | None, what: str = "clean speech"
) -> tuple[list[torch.Tensor], list[Path]]:
    """Power spectrograms (N, F) of up to ``limit`` files of a folder, and the files.

    The files are evenly spread over the folder; each is resampled to the prior's rate and scaled to its active
    level. Raises AudioError where all files are silent; the hint says that the folder should hold ``what``.
    """
    import torch

    sources = paths.collect([folder])
    if sources[0].problem is not None:
        raise sources[0].problem
    count = len(sources) if limit is None else min(limit, len(sources))
    chosen = [sources[i] for i in np.unique(np.linspace(0, len(sources) - 1, count).astype(int))]
    spectra, found = [], []
    for source in chosen:
        assert source.path is not None
        recording = files.read(source.path)
        mono = resample(recording.samples.mean(0), recording.rate, prior.signal.rate)
        level = active_rms(mono, prior.signal.rate)
        if level < SILENCE_RMS:
            continue
        waveform = torch.from_numpy((mono * (prior.signal.active_rms / level)).astype(np.float32))
        spectra.append(prior.signal.stft.analyse(waveform).abs().square())
        found.append(source.path)
    if not spectra:
        raise AudioError(f"{folder} holds only silence", f"give a folder of {what}")
    return spectra, found
