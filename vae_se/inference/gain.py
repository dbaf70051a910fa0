"""M-step for the gain. That of the noise belongs to the noise models."""

from __future__ import annotations

import dataclasses

import torch

from ..blocks import frame_blocks
from ..errors import UsageError
from .target import Target

_KINDS = ("fixed", "file", "frame")
_RANGE = (1e-6, 1e6)  # +-60 dB around the level that the prior was trained at


@dataclasses.dataclass(frozen=True)
class Gain:
    """g_n in g_n v_f(z_n): one for the whole file, one per frame, or fixed at 1.

    Majorise-minimise update (Leglaive, Girin and Horaud, 2018, eq. 22) with, as a departure, a gamma prior
    of mode 1: log p(g) = c (log g - g), c = ``concentration`` (0: none). With
    a = sum_r w_r sum_f |x|^2 v / V^2 and b = sum_r w_r sum_f v / V at the present g', the majoriser
    a g'^2 / g + (b + c) g - c log g is least at g = (c + sqrt(c^2 + 4 (b + c) a g'^2)) / (2 (b + c)), which
    is the published update where c = 0. A free gain follows what the decoder cannot explain and destroys
    recordings that were good already; the prior holds it.
    """

    kind: str = "fixed"
    concentration: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise UsageError(f"unknown gain {self.kind!r}", "known: " + ", ".join(_KINDS))
        if self.concentration < 0:
            raise UsageError(f"gain concentration {self.concentration}", "it is 0 (no prior) or more")

    def update(self, target: Target, log_variance: torch.Tensor, log_weight: torch.Tensor) -> torch.Tensor:
        """The new g, (B, N), under draws with ``log_variance`` (B, R, N, F) and weights (B, R, N)."""
        gain = target.gain
        if self.kind == "fixed":
            return gain
        weight = log_weight.exp() * target.mask.unsqueeze(1)
        a, b = (torch.empty_like(log_weight) for _ in range(2))
        for frames in frame_blocks(log_variance):
            part = target.at(frames)
            speech = part.speech_variance(log_variance[:, :, frames])
            inverse = (speech + part.noise.unsqueeze(1)).reciprocal_()
            share = speech.mul_(inverse)
            torch.sum(share, -1, out=b[:, :, frames])
            torch.sum(share.mul_(inverse).mul_(part.power.unsqueeze(1)), -1, out=a[:, :, frames])
        # Both sums carry one factor g, which the division takes out again.
        a, b = ((weight * total).sum(1) / gain for total in (a, b))
        if self.kind == "file":
            a, b = a.sum(-1, keepdim=True), b.sum(-1, keepdim=True)
        c = self.concentration
        new = (c + torch.sqrt(c * c + 4 * (b + c) * a * gain.square())) / (2 * (b + c)).clamp(min=1e-30)
        return torch.where(target.mask > 0, new, gain).clamp(*_RANGE)
