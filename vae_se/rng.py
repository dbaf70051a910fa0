"""Random streams, one per utterance, derived from a seed and names and passed as an explicit argument.

A stream depends only on its seed and its names. A result therefore does not depend on the batch, the order, the
shard or the number of workers. The global generators of NumPy and torch are never used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed from a seed and any number of names.

    >>> derive(0, "a.wav") == derive(0, "a.wav"), derive(0, "a.wav") == derive(0, "b.wav")
    (True, False)
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in (seed, *names):
        text = str(part).encode()
        digest.update(len(text).to_bytes(8, "little") + text)
    return int.from_bytes(digest.digest(), "little") >> 1


def numpy_stream(seed: int, *names: str | int) -> np.random.Generator:
    """The NumPy generator of (seed, names)."""
    return np.random.default_rng(derive(seed, *names))


def torch_stream(seed: int, *names: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """The torch generator of (seed, names)."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *names))


class Streams:
    """One torch generator per utterance of a ragged batch; random numbers are padded with zeros.

    Utterance b has ``lengths[b]`` frames. Its numbers come from its own generator and cover its own frames
    only, so they do not depend on the other utterances of the batch or on the padding.
    """

    def __init__(self, generators: Sequence[torch.Generator], lengths: Sequence[int]) -> None:
        if len(generators) != len(lengths):
            raise ValueError(f"{len(generators)} generators for {len(lengths)} utterances")
        self.generators = list(generators)
        self.lengths = [int(n) for n in lengths]

    @classmethod
    def from_seed(
        cls, seed: int, names: Sequence[str | int], lengths: Sequence[int], device: str | torch.device = "cpu"
    ) -> Streams:
        """Streams for utterances with these names and lengths in frames."""
        return cls([torch_stream(seed, name, device=device) for name in names], lengths)

    def _draw(self, kind: str, shape: tuple[int, ...], dtype: torch.dtype | None) -> torch.Tensor:
        import torch

        device = self.generators[0].device
        dtype = dtype or torch.get_default_dtype()
        out = torch.zeros(len(self.lengths), max(self.lengths), *shape, dtype=dtype, device=device)
        for row, generator, length in zip(out, self.generators, self.lengths, strict=True):
            if kind == "normal":
                row[:length].normal_(generator=generator)
            else:
                row[:length].uniform_(generator=generator)
        return out

    def normal_draws(self, draws: int, latents: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Standard normal numbers for ``draws`` draws of every frame's latents, shape (B, R, N, L)."""
        return self.normal(draws, latents, dtype=dtype).transpose(1, 2)

    def uniform_draws(self, draws: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Uniform numbers in [0, 1), one for every draw and frame, shape (B, R, N)."""
        return self.uniform(draws, dtype=dtype).transpose(1, 2)

    def uniform_table(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Uniform numbers in [0, 1) without a frame dimension, shape (B, *shape)."""
        import torch

        dtype = dtype or torch.get_default_dtype()
        rows = [torch.rand(*shape, generator=g, dtype=dtype, device=g.device) for g in self.generators]
        return torch.stack(rows)

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Standard normal numbers, shape (B, N, *shape), zero where the batch is padded."""
        return self._draw("normal", shape, dtype)

    def uniform(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Uniform numbers in [0, 1), shape (B, N, *shape), zero where the batch is padded."""
        return self._draw("uniform", shape, dtype)

    def state(self) -> list[torch.Tensor]:
        """The state of every generator, for :meth:`restore`."""
        return [generator.get_state() for generator in self.generators]

    def restore(self, state: Sequence[torch.Tensor]) -> None:
        """Continue from what :meth:`state` returned."""
        for generator, saved in zip(self.generators, state, strict=True):
            generator.set_state(saved)
