"""The spectra of a mixture, as the enhancer sees them; for the scripts in this folder."""

from __future__ import annotations

import numpy as np
import torch

from vae_se.audio.level import active_rms
from vae_se.signal_spec import SignalSpec


def analysed(
    signal: SignalSpec, rate: int, noisy: np.ndarray, *others: np.ndarray
) -> tuple[float, list[torch.Tensor]]:
    """STFTs (N, F) of ``noisy`` (T,) and of ``others``, all divided by one factor, and that factor.

    The factor brings ``noisy`` to the active level that the prior expects. ``rate`` in Hz is the prior's.
    """
    scale = active_rms(noisy, rate) / signal.active_rms
    waves = (np.asarray(wave / scale, np.float32) for wave in (noisy, *others))
    return scale, [signal.stft.analyse(torch.from_numpy(wave)) for wave in waves]
