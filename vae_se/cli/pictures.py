"""``--plot``: the path of each picture, and its contents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio.paths import FileJob
from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from ..enhancement.enhancer import Info
    from ..signal_spec import SignalSpec


def plan_pictures(jobs: Sequence[FileJob], plot: str, many: bool) -> dict[str, Path]:
    """The path of a picture for every input that can be read, by its label.

    ``plot``: a file for one input; for ``many`` a folder, with the same tree as the inputs, or a template with
    {stem}. Raises UsageError where two pictures are the same file, or a picture is an input or output.
    """
    pictures: dict[str, Path] = {}
    readable = [job for job in jobs if job.source.problem is None]
    template = "{stem}" in plot
    folder = not template and (many or Path(plot).is_dir() or not Path(plot).suffix)
    if folder and Path(plot).suffix and not Path(plot).is_dir():
        raise UsageError(
            f"several inputs and one picture {plot}", "give --plot a folder, or a name with {stem}"
        )
    for job in readable:
        stem = job.source.tree.stem if job.source.path is not None else "stdin"
        if folder:
            pictures[job.source.label] = Path(plot) / job.source.tree.parent / f"{stem}.png"
        else:
            pictures[job.source.label] = Path(plot.replace("{stem}", stem))
    taken = [path.resolve() for job in readable for path in (job.source.path, job.target) if path is not None]
    for path in pictures.values():
        if path.resolve() in taken:
            raise UsageError(f"the picture {path} would replace another file", "give another name to --plot")
        taken.append(path.resolve())
    return pictures


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
