"""What the priors of independent frames are built of: spectra in, log-variances out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import UsageError
from ..numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN
from ..rng import torch_stream
from ..signal_spec import SignalSpec
from .frame import FramePrior
from .layers import stack
from .statistics import Standardising


class FeedForward(Standardising, FramePrior):
    """Encoder: standardised log-power through the ``hidden`` layers backwards, then a subclass's heads.
    Decoder: the mirror image, then a linear layer to F log-variances.

    A subclass defines :meth:`make_heads` and ``encode``. The statistics of the training speech, by which the
    encoder's input is standardised, are buffers, stored with the weights.
    """

    thin_in: torch.Tensor | None
    thin_out: torch.Tensor
    thin_bias: torch.Tensor

    def __init__(
        self,
        hidden: Sequence[int] = (32, 64, 128, 256),
        latent_dim: int = 16,
        activation: str = "tanh",
        signal: SignalSpec | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(latent_dim, int) or latent_dim < 1:
            raise UsageError(f"latent_dim = {latent_dim!r} of a prior", "it is a whole number above 0")
        self.signal = signal or SignalSpec()
        self.latent_dim = latent_dim
        self.hidden = tuple(hidden)
        self.activation = activation
        bins = self.signal.stft.bins
        self.encoder = stack([bins, *reversed(self.hidden)], activation)
        self.make_heads(self.hidden[0])
        self.decoder = stack([latent_dim, *self.hidden], activation)
        self.output = nn.Linear(self.hidden[-1], bins)
        self.register_buffer("log_power_mean", torch.zeros(bins))
        self.register_buffer("log_power_std", torch.ones(bins))
        for name in ("thin_in", "thin_out", "thin_bias"):  # see compress()
            self.register_buffer(name, None, persistent=False)

    def make_heads(self, size: int) -> None:
        """Register what makes a posterior of the encoder's last ``size`` units."""
        raise NotImplementedError

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """eta(z): log-variances (..., F) of latents (..., L), within the range of numerics.py."""
        hidden = self.decoder(z)
        if self.thin_in is None:
            eta = self.output(hidden)
        else:
            eta = functional.linear(functional.linear(hidden, self.thin_in), self.thin_out, self.thin_bias)
        return functional.hardtanh(eta, LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)

    @torch.no_grad()
    def compress(self, error: float) -> int | None:
        """Let :meth:`decode` take two thin layers in place of the costly last one; returns their rank.

        The log-variances are projected on the fewest of their principal components under p(z) (Eckart and
        Young, The approximation of one matrix by another of lower rank, 1936) that leave a root mean square
        error of ``error`` nats at most. Nothing changes, and None is returned, where that saves less than a
        quarter of the layer's products. The layer itself, and what is saved, stay as they are.
        """
        z = self.sample(4096, torch_stream(0, "compress"))[0, 0]
        hidden = self.decoder(z).double()
        weight, bins = self.output.weight.double(), len(self.output.weight)
        mean = hidden.mean(0)
        eigenvalues, vectors = torch.linalg.eigh(weight @ torch.cov(hidden.T) @ weight.T)
        left_out = (eigenvalues.clamp(min=0).cumsum(0) / bins).sqrt()  # ascending: of the first 1, 2, ...
        rank = max(1, bins - int((left_out <= error).sum()))
        if rank * (bins + weight.shape[1]) > 0.75 * weight.numel():
            return None
        kept = vectors[:, -rank:]
        thin, dtype = kept.T @ weight, self.output.weight.dtype
        self.thin_in, self.thin_out = thin.to(dtype), kept.to(dtype).contiguous()
        self.thin_bias = (self.output.bias.double() + (weight - kept @ thin) @ mean).to(dtype)
        return rank

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of q(z | s): all but the decoder's."""
        decoder = {id(p) for p in itertools.chain(self.decoder.parameters(), self.output.parameters())}
        return (p for p in self.parameters() if id(p) not in decoder)

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor, JSON-able, less the signal."""
        return {"hidden": list(self.hidden), "latent_dim": self.latent_dim, "activation": self.activation}
