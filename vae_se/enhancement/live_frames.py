"""Analysis and overlap-add of a stream of frames, with a synthesis window of any length."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..errors import UsageError
from ..stft import STFT

#: A synthesis window that is shorter than the analysis window is faded in over a hop divided by this.
FADES = 4


def synthesis_window(stft: STFT, span: int) -> torch.Tensor:
    """The window (window,) of a synthesis that uses only the last ``span`` samples of every frame.

    A sample lies in span / hop frames, and is complete when the last of them is: a shorter span is a shorter
    delay. With the whole window it is the least-squares synthesis of :class:`~vae_se.stft.STFT`. A shorter one
    is the least-squares synthesis from what it uses of every frame, faded in over a quarter of a hop, so that
    it is 0 at both ends. Its products with the analysis window sum to 1 over neighbouring frames: frames that
    nothing changed give the delayed input. Compare Mauler and Martin, A low delay, variable resolution, perfect
    reconstruction spectral analysis-synthesis system for speech enhancement, 2007.

    Raises UsageError unless ``span`` is a multiple of the hop, from two hops to the window.

    >>> stft = STFT(64, 16)
    >>> product = synthesis_window(stft, 32) * stft.taper()
    >>> bool(torch.allclose(product.reshape(4, 16).sum(0), torch.ones(16)))
    True
    """
    hop, window = stft.hop, stft.window
    if span % hop or not 2 * hop <= span <= window:
        raise UsageError(
            f"a synthesis window of {span} samples", f"give a multiple of {hop} from {2 * hop} to {window}"
        )
    taper = stft.taper(torch.float64)
    product = taper.square()
    if span < window:
        fade = hop // FADES
        product[: window - span] = 0
        product[window - span : window - span + fade] *= torch.sin(
            math.pi / 2 * (torch.arange(fade, dtype=torch.float64) + 0.5) / fade
        ).square()
    total = product.reshape(-1, hop).sum(0).repeat(window // hop)
    return (product / total / taper).float()


class LiveFrames:
    """Turns blocks of samples into spectra, and filtered spectra into samples, in buffers allocated once.

    ``block``: frames in a block; ``span``: samples of the synthesis window. Frame k covers the samples up to
    (k + 1) hop; in front of the stream lie zeros. After a block the samples are complete up to ``span`` - hop
    before the end of the last frame that was synthesised.
    """

    def __init__(self, stft: STFT, block: int, span: int, device: torch.device) -> None:
        self._stft, self._block, self._span = stft, block, span
        self._taper = stft.taper(device=device)
        self._synthesis = synthesis_window(stft, span)[-span:].to(device)
        self._step = block * stft.hop
        self._received = torch.zeros(stft.window - stft.hop + self._step, device=device)
        self._summed = torch.zeros((block - 1) * stft.hop + span, device=device)

    def analyse(self, samples: np.ndarray) -> torch.Tensor:
        """Spectra (block, F) of the frames that end in the next samples, (block x hop,) in float32."""
        kept = self._received.numel() - self._step
        self._received[:kept] = self._received[self._step :].clone()
        self._received[kept:] = torch.from_numpy(samples)
        return torch.fft.rfft(self._received.unfold(0, self._stft.window, self._stft.hop) * self._taper)

    def synthesise(self, spectra: torch.Tensor) -> np.ndarray:
        """The samples (block x hop,) that are complete with the next frames, spectra (block, F)."""
        frames = torch.fft.irfft(spectra, n=self._stft.window)[:, -self._span :] * self._synthesis
        for number, frame in enumerate(frames):
            start = number * self._stft.hop
            self._summed[start : start + self._span] += frame
        complete: np.ndarray = self._summed[: self._step].cpu().numpy().copy()
        rest = self._summed.numel() - self._step
        self._summed[: max(0, rest)] = self._summed[self._step :].clone()
        self._summed[max(0, rest) :] = 0
        return complete
