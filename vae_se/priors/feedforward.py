"""Feed-forward priors: an encoder from spectra, a decoder to log-variances."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import UsageError
from ..numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN
from ..rng import torch_stream
from ..signal_spec import SignalSpec
from .frame import FramePrior, Q
from .layers import stack
from .statistics import Standardising
from .thin_layers import ThinLayers, weights_digest


class FeedForward(Standardising, FramePrior[Q]):
    """Encoder: standardised log-power through the ``hidden`` layers in reverse order, then a subclass's heads.
    Decoder: the ``hidden`` layers in order, then a linear layer to F log-variances.

    A subclass defines :meth:`make_heads`, ``encode`` and ``divergence``.
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
        self.factors: torch.dtype | None = None  # see multiply_in()
        self.stored_layers: ThinLayers | None = None  # see compress()
        for name in ("thin_in", "thin_out", "thin_bias"):  # see compress()
            self.register_buffer(name, None, persistent=False)

    def make_heads(self, size: int) -> None:
        """Register the layers from the encoder's last ``size`` units to the parameters of the posterior."""
        raise NotImplementedError

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """eta(z): log-variances (..., F) of latents (..., L), clamped to the range of numerics.py."""
        hidden = self.through(self.decoder, z)
        if self.thin_in is None:
            eta = self._linear(hidden, self.output.weight, self.output.bias)
        else:
            eta = self._linear(self._linear(hidden, self.thin_in), self.thin_out, self.thin_bias)
        return functional.hardtanh(eta, LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)

    def decode_with_derivative(
        self, z: torch.Tensor
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """See :class:`~vae_se.priors.base.SpeechPrior`. SiLU in full precision has a closed form here, which
        takes a third of the time of autograd for a few frames."""
        if self.activation != "silu" or self.factors is not None:
            return super().decode_with_derivative(z)
        inputs, hidden = [], z
        layers = [layer for layer in self.decoder if isinstance(layer, nn.Linear)]
        for layer in layers:
            inputs.append(functional.linear(hidden, layer.weight, layer.bias))
            hidden = functional.silu(inputs[-1])
        outward: list[tuple[torch.Tensor, torch.Tensor | None]] = [(self.output.weight, self.output.bias)]
        if self.thin_in is not None:
            outward = [(self.thin_in, None), (self.thin_out, self.thin_bias)]
        for weight, bias in outward:
            hidden = functional.linear(hidden, weight, bias)
        log_variance = functional.hardtanh(hidden, LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)

        def derivative(slope: torch.Tensor) -> torch.Tensor:
            slope = slope * (log_variance == hidden)
            for weight, _ in reversed(outward):
                slope = slope @ weight
            for layer, values in zip(reversed(layers), reversed(inputs), strict=True):
                slope = torch.ops.aten.silu_backward(slope, values) @ layer.weight
            return slope

        return log_variance, derivative

    def through(self, layers: nn.Sequential, values: torch.Tensor) -> torch.Tensor:
        """``values`` after ``layers``, multiplied as :meth:`multiply_in` says."""
        for layer in layers:
            values = (
                self._linear(values, layer.weight, layer.bias)
                if isinstance(layer, nn.Linear)
                else layer(values)
            )
        return values

    def _linear(
        self, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """weight @ values + bias over the last dimension; see :meth:`multiply_in`."""
        if self.factors is None:
            return functional.linear(values, weight, bias)
        product = functional.linear(values.to(self.factors), weight.to(self.factors)).to(values.dtype)
        return product if bias is None else product + bias

    def multiply_in(self, dtype: torch.dtype) -> bool:
        """Round the factors and the result of each matrix product in :meth:`decode`, on the way back, and in
        the encoder's hidden layers, to ``dtype``; the sums inside a product, biases and activations keep their
        precision. True."""
        self.factors = dtype
        return True

    @torch.no_grad()
    def compress(self, error: float) -> int | None:
        """Replace the output layer in :meth:`decode` by two thin layers; returns their rank.

        The log-variances are projected on the fewest of their principal components under p(z) whose root mean
        square error is at most ``error`` nats (Eckart and Young, The approximation of one matrix by another of
        lower rank, 1936). Where that saves less than a quarter of the layer's products, :meth:`decode` uses the
        layer itself and the result is None. The output layer, and the stored weights, stay as they are.

        ``stored_layers`` are used where they are those of these weights and this ``error``.
        """
        stored = self.stored_layers
        known = stored is not None and stored.serve(self.output, error, weights_digest(self))
        layers = stored if known else self.thin_layers(error)
        if layers is None:
            for name in ("thin_in", "thin_out", "thin_bias"):  # made from other weights
                setattr(self, name, None)
            return None
        weight = self.output.weight
        self.thin_in, self.thin_out, self.thin_bias = (
            values.to(weight) for values in (layers.inward, layers.outward, layers.bias)
        )
        return len(layers.inward)

    @torch.no_grad()
    def thin_layers(self, error: float) -> ThinLayers | None:
        """Compute the layers that :meth:`compress` uses, or None where they do not pay."""
        z = self.sample(4096, torch_stream(0, "compress"))[0, 0]
        hidden = self.decoder(z).double()
        weight, bins = self.output.weight.double(), len(self.output.weight)
        mean = hidden.mean(0)
        eigenvalues, vectors = torch.linalg.eigh(weight @ torch.cov(hidden.T) @ weight.T)
        # In ascending order: entry k is the error without the k + 1 smallest components.
        left_out = (eigenvalues.clamp(min=0).cumsum(0) / bins).sqrt()
        rank = max(1, bins - int((left_out <= error).sum()))
        if rank * (bins + weight.shape[1]) > 0.75 * weight.numel():
            return None
        kept = vectors[:, -rank:]
        thin, dtype = kept.T @ weight, self.output.weight.dtype
        bias = (self.output.bias.double() + (weight - kept @ thin) @ mean).to(dtype)
        return ThinLayers(thin.to(dtype), kept.to(dtype).contiguous(), bias, error, weights_digest(self))

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of q(z | s): all but those of ``decoder`` and ``output``."""
        decoder = {id(p) for p in itertools.chain(self.decoder.parameters(), self.output.parameters())}
        return (p for p in self.parameters() if id(p) not in decoder)

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return {"hidden": list(self.hidden), "latent_dim": self.latent_dim, "activation": self.activation}


class TwoHeads(FeedForward[Q]):
    """Feed-forward prior with two linear heads: location and log-scale of the posterior."""

    def make_heads(self, size: int) -> None:
        """``mean_head`` and ``log_variance_head``; the second starts at 0, a variance of 1."""
        self.mean_head = nn.Linear(size, self.latent_dim)
        self.log_variance_head = nn.Linear(size, self.latent_dim)
        nn.init.zeros_(self.log_variance_head.weight)
        nn.init.zeros_(self.log_variance_head.bias)
