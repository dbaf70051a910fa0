"""``--plot``: the contents of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from ..enhancement.enhancer import Info
    from ..signal_spec import SignalSpec


def draw_picture(
    noisy: np.ndarray, speech: np.ndarray, rate: int, info: Info, signal: SignalSpec, title: str, path: Path
) -> bool:
    """Draw the first channel that is not silent; False where all are. Samples are (C, T) at ``rate`` Hz."""
    import torch

    from ..audio.level import active_rms
    from ..audio.resample import resample
    from ..numerics import SILENCE_RMS
    from ..plots.recording import Picture, draw

    inside = resample(noisy, rate, signal.rate)
    loud = [c for c, channel in enumerate(inside) if active_rms(channel, signal.rate) >= SILENCE_RMS]
    if not loud or not info.channels:
        return False
    found, frames = info.channels[0], info.channels[0].wiener.shape[0]

    def power(samples: np.ndarray) -> np.ndarray:
        spectrum = signal.stft.analyse(torch.from_numpy(samples).float()).abs().square()
        return spectrum.numpy()[:frames]

    enhanced = resample(speech[loud[0] : loud[0] + 1], rate, signal.rate)
    first = found.factors[0] if found.factors else None
    picture = Picture(
        title=title,
        noisy=power(inside[loud[0]]),
        speech=power(enhanced[0]),
        noise=found.noise_variance.cpu().numpy(),
        uncertainty=found.uncertainty.cpu().numpy() ** 2,
        gain=found.gain.cpu().numpy(),
        objective=info.objective,
        factors=None if first is None else (first.start, first.w.numpy(), first.h.numpy()),
        segments=len(found.factors),
        rate=signal.rate,
        hop=signal.hop,
    )
    draw(picture, path)
    return True
