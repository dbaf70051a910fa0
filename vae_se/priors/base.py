"""The protocol of a speech prior, and the signal convention that travels with its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from ..registry import Registry
from ..stft import STFT


@dataclasses.dataclass(frozen=True)
class Signal:
    """What the prior was trained on: rate in Hz, STFT, and the active RMS (ITU-T P.56) of its speech."""

    rate: int = 16000
    window: int = 1024
    hop: int = 256
    active_rms: float = 1.0

    @property
    def stft(self) -> STFT:
        """The analysis that the prior's spectra come from."""
        return STFT(self.window, self.hop)


@runtime_checkable
class SpeechPrior(Protocol):
    """p(s | z) p(z) over power spectra of speech frames, with an encoder as proposal.

    Shapes: power (B, N, F), z (B, R, N, L), log-variance (B, R, N, F), log prior (B, R, N), or (B, R)
    where the prior ties frames together (``factorised`` is then False).
    """

    signal: Signal
    latent_dim: int
    factorised: bool

    def encode(self, power: torch.Tensor) -> Any:
        """Posterior object over the latents of ``power`` (B, N, F)."""

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Log-variances (B, R, N, F) of latents (B, R, N, L)."""

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z)."""

    def sample(self, frames: int, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, 1, N, L) drawn from p(z)."""

    def encoder_parameters(self) -> Iterator[torch.nn.Parameter]:
        """The parameters that inference may copy and fine-tune; the decoder's are never touched."""

    def config(self) -> dict[str, Any]:
        """The architecture as JSON-able keywords of the constructor."""


#: Architectures by name: classes whose keywords are those of their ``config()``.
PRIORS: Registry[Any] = Registry("prior architecture")
