"""The enhancer as a ``torch.nn.Module``, for programs that are written around modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from .config import Config
from .enhancement.arrays import MOST_CHANNELS, checked_rate
from .enhancement.enhancer import Enhancer
from .errors import UsageError
from .noisy_encoder.store import FOLDER, AnyNoisyEncoder, save_noisy_encoder
from .priors.stored import StoredPrior


class EnhancerModule(nn.Module):
    """Monte Carlo EM as a module: noisy waveforms (B, C, T) in, the speech in the same shape out.

    Make one with :meth:`from_pretrained`. ``rate``: sampling rate of the waveforms in Hz; the prior's own rate
    needs no resampling. Submodules are the speech prior and, where there is one, the noisy encoder, so that
    ``.to()``, ``state_dict()`` and ``load_state_dict()`` do as usual. The result does not depend on what else
    is in a batch.

    EM computes in single precision whatever the module is cast to, and the output has the input's type. It is
    not differentiable: the output carries no gradient, and the parameters are frozen. ``train()`` has no
    effect.
    """

    def __init__(self, enhancer: Enhancer, rate: int = 16000) -> None:
        """``enhancer``: its prior and noisy encoder become submodules. Raises UsageError for a baseline."""
        super().__init__()
        self.enhancer = enhancer
        self.rate = checked_rate(rate, "the module")
        prior, encoder = enhancer.em.prior, enhancer.em.noisy_encoder
        if not isinstance(prior, StoredPrior):
            raise UsageError(f"a prior of class {type(prior).__name__}", "expected one of vae_se.load_prior")
        self.prior = prior
        self.noisy_encoder = encoder if isinstance(encoder, nn.Module) else None
        self.register_load_state_dict_post_hook(_compress_again)
        self.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls,
        prior: str | Path | None = None,
        *,
        rate: int = 16000,
        preset: str = "default",
        config: Config | None = None,
        device: str = "cpu",
        **overrides: Any,
    ) -> Self:
        """A module with a shipped prior (by name) or one in a folder; see
        :meth:`~vae_se.enhancement.enhancer.Enhancer.from_pretrained` for the arguments and the errors."""
        enhancer = Enhancer.from_pretrained(prior, preset=preset, config=config, device=device, **overrides)
        return cls(enhancer, rate)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the prior into ``folder``, and the noisy encoder into a folder in it.

        ``from_pretrained(folder)`` and ``vae-se enhance --prior folder`` load both. Settings are not stored.
        """
        self.prior.save_pretrained(folder)
        if isinstance(self.noisy_encoder, AnyNoisyEncoder) and self.enhancer.em.encoder_prior is None:
            save_noisy_encoder(self.noisy_encoder, self.prior, Path(folder) / FOLDER)

    def forward(self, noisy: torch.Tensor, lengths: torch.Tensor | Sequence[int] | None = None) -> torch.Tensor:
        """Speech (B, C, T) of ``noisy`` (B, C, T), floating-point with full scale at 1.0.

        ``lengths`` (B,): samples of each waveform; what lies behind them is padding, and 0 in the output. Each
        waveform is enhanced as if it were alone. Raises UsageError for other shapes, types or lengths,
        AudioError for samples that are not finite.
        """
        if noisy.ndim != 3 or noisy.shape[1] > max(1, min(MOST_CHANNELS, noisy.shape[2])):
            raise UsageError(
                f"waveforms of shape {tuple(noisy.shape)}", "expected (B, C, T): batch, channels, samples"
            )
        if not noisy.is_floating_point():
            raise UsageError(
                f"waveforms of type {noisy.dtype}", "pass floating-point samples, full scale at 1.0"
            )
        batch, channels, samples = noisy.shape
        counts = [samples] * batch if lengths is None else [int(n) for n in lengths]
        if len(counts) != batch or not all(0 <= n <= samples for n in counts):
            raise UsageError(f"lengths {counts} for {batch} waveforms of {samples} samples", "one per waveform")
        speech = torch.zeros_like(noisy)
        present = [b for b in range(batch) if counts[b] and channels]
        items = [noisy[b, :, : counts[b]] for b in present]
        for b, found in zip(
            present, self.enhancer.enhance_batch(items, self.rate, check_shape=False), strict=True
        ):
            speech[b, :, : counts[b]] = found
        return speech

    def train(self, mode: bool = True) -> Self:
        """Nothing: the networks stay in evaluation mode."""
        return super().train(False)

    def extra_repr(self) -> str:
        """The enhancer, and the rate."""
        return f"{self.enhancer!r}, rate={self.rate}"

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Move to another device, as ``.to()``, ``.cuda()`` and ``.cpu()`` ask; the type stays."""
        device = fn(next(self.prior.parameters()).detach()[:0]).device
        moved: Self = super()._apply(lambda tensor: tensor.to(device), recurse)
        self.enhancer.device = device
        return moved


def _compress_again(module: EnhancerModule, _: Any) -> None:
    """Make the decoder's cheaper form anew, from the weights that were loaded."""
    error = module.enhancer.config.inference.decoder_error
    if error > 0:
        module.prior.compress(error)
