"""A progress bar over the seconds of audio done, in a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .segmented_em import ProgressCallback

#: Format of tqdm. The remaining time comes from the mean speed so far.
BAR = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of audio, {elapsed}<{remaining}{postfix}"


@contextmanager
def reporting(progress: ProgressCallback | bool | None, seconds: float) -> Iterator[ProgressCallback | None]:
    """``progress`` itself, or for True a bar over ``seconds`` of audio, which is shown inside the block."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(total=seconds, bar_format=BAR, smoothing=0) as bar:
        yield lambda done, total: bar.update(seconds * done / total - bar.n)
