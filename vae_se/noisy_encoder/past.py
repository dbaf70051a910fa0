"""What a causal noisy encoder remembers between the parts of a stream."""

from __future__ import annotations

import torch

#: Frames that the running mean weighs alike; beyond them it forgets exponentially. A minute at a hop of 16 ms.
MEAN_FRAMES = 3750


class Past:
    """The last inputs of every layer that looks back, and the running mean of the input.

    A new object stands for the beginning of a recording: what came before is zero. A causal network that takes
    the frames of a recording in parts, with one ``Past``, gives what it gives for the recording as a whole
    (as long as the recording is no longer than :data:`MEAN_FRAMES`).
    """

    def __init__(self) -> None:
        self._kept: dict[str, torch.Tensor] = {}
        self._sum: torch.Tensor | float = 0.0
        self._count: torch.Tensor | float = 0.0

    def prepend(self, key: str, values: torch.Tensor, frames: int, dim: int) -> torch.Tensor:
        """``values`` with the ``frames`` frames before them, along dimension ``dim``.

        ``key`` names the layer. The last ``frames`` frames are kept for the next call.
        """
        shape = list(values.shape)
        shape[dim] = frames
        before = self._kept.get(key)
        joined = torch.cat([values.new_zeros(shape) if before is None else before, values], dim)
        self._kept[key] = joined.narrow(dim, joined.shape[dim] - frames, frames)
        return joined

    def mean(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean of ``values`` (B, N, F) up to each frame; they are 0 where ``mask`` (B, N) is."""
        sums = self._sum + values.cumsum(1)
        counts = self._count + mask.cumsum(1).unsqueeze(-1)
        keep = (MEAN_FRAMES / counts[:, -1:]).clamp(max=1)
        self._sum, self._count = sums[:, -1:] * keep, counts[:, -1:] * keep
        return sums / counts.clamp(min=1)
