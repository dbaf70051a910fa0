"""M-step of the speech gain. The M-step of the noise belongs to the noise models."""

from __future__ import annotations

import dataclasses

import torch

from ..blocks import blockwise
from ..errors import UsageError
from .target import Target

_KINDS = ("fixed", "file", "frame")
_RANGE = (1e-6, 1e6)  # +-60 dB around the level that the prior was trained at


@dataclasses.dataclass(frozen=True)
class Gain:
    """g_n in g_n v_f(z_n): fixed at 1, one for the whole recording, or one per frame.

    ``kind``: "fixed", "file" or "frame"; ``concentration``: c of a gamma prior on g with its mode at 1,
    log p(g) = c (log g - g) up to a constant; 0 means no prior. A free gain per frame absorbs whatever the
    decoder cannot explain and damages recordings that are already good; the prior prevents that.

    The update is majorise-minimise. With a = sum_r w_r sum_f |x|^2 v / V^2 and b = sum_r w_r sum_f v / V at the
    present g', the majoriser a g'^2 / g + (b + c) g - c log g has its minimum at
    g = (c + sqrt(c^2 + 4 (b + c) a g'^2)) / (2 (b + c)). For c = 0 this is the update of Leglaive, Girin and
    Horaud, A variance modeling framework based on variational autoencoders for speech enhancement, 2018.

    Raises UsageError if the kind is unknown or the concentration is negative.
    """

    kind: str = "fixed"
    concentration: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise UsageError(f"unknown gain {self.kind!r}", "known: " + ", ".join(_KINDS))
        if self.concentration < 0:
            raise UsageError(f"gain concentration {self.concentration}", "it must be 0 (no prior) or more")

    def update(
        self,
        target: Target,
        log_variance: torch.Tensor,
        log_weight: torch.Tensor,
        sums: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """The new g, (B, N), under draws with ``log_variance`` (B, R, N, F) and weights (B, R, N).

        ``sums``: sum_f g v / V and sum_f |x|^2 g v / V^2 of the draws, (B, R, N) each, where they are known.
        """
        gain = target.gain
        if self.kind == "fixed":
            return gain
        weight = log_weight.exp() * target.mask.unsqueeze(1)

        def of_block(frames: slice) -> tuple[torch.Tensor, torch.Tensor]:
            """sum_f g v / V and sum_f |x|^2 g v / V^2 of each draw and frame."""
            part = target.at(frames)
            speech = part.speech_variance(log_variance[:, :, frames])
            inverse = (speech + part.noise.unsqueeze(1)).reciprocal_()
            share = speech.mul_(inverse)
            total = share.sum(-1)
            return total, share.mul_(inverse).mul_(part.power.unsqueeze(1)).sum(-1)

        below, above = sums or blockwise(of_block, log_variance)
        # Both sums have a factor g' too many.
        a, b = ((weight * total).sum(1) / gain for total in (above, below))
        return torch.where(target.mask > 0, self.minimiser(a, b, gain), gain)

    def minimiser(self, a: torch.Tensor, b: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        """The new g (..., N) from the present ``gain`` and the sums ``a`` and ``b`` of the class, all (..., N).

        Not for the kind "fixed".
        """
        if self.kind == "file":
            a, b = a.sum(-1, keepdim=True), b.sum(-1, keepdim=True)
        c = self.concentration
        new = (c + torch.sqrt(c * c + 4 * (b + c) * a * gain.square())) / (2 * (b + c)).clamp(min=1e-30)
        return new.clamp(*_RANGE)
