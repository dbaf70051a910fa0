"""A frame-wise decoder whose latents have recurrent dynamics."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...signal_spec import SignalSpec
from ..base import PRIORS
from ..ffvae import FFVAE
from .base import Dynamical, Transition, transition_net
from .posterior import moments, reparameterised
from .sequences import Recurrent, recurrent, run, shifted, step


@PRIORS.add("latent-rnn")
class LatentRNN(Dynamical):
    """z_n given z_1..n-1, by two recurrent layers; s_n given z_n; q(z_n | s_1..N), or as ``chained`` says.

    It is ``ffvae`` with another p(z), and ``dsae`` without the latents of the whole sequence. A frame's
    spectrum depends on its own latents alone, so the decoder costs in enhancement what that of ``ffvae`` does.
    The general model is that of Girin et al., Dynamical variational autoencoders: a comprehensive review, 2021,
    ch. 4.
    """

    summary = "A variational autoencoder with recurrent dynamics of the latents"
    tracked = frame_decoder = True

    def __init__(
        self,
        hidden: Sequence[int] = (256, 512),
        latent_dim: int = 32,
        hidden_size: int = 256,
        activation: str = "silu",
        cell: str = "mingru",
        chained: bool = False,
        signal: SignalSpec | None = None,
    ) -> None:
        super().__init__(hidden, latent_dim, hidden_size, activation, cell, chained, signal)

    def make_parts(self) -> None:
        """Two recurrent layers over the latents, and the network from their states to p(z_n | ...); ``follow``,
        over z_1..n-1 for a chained posterior."""
        self.follow = recurrent(self.cell, self.latent_dim, self.hidden_size) if self.chained else None
        self.first: Recurrent = recurrent(self.cell, self.latent_dim, self.hidden_size)
        self.second: Recurrent = recurrent(self.cell, self.hidden_size, self.hidden_size)
        size = self.latent_dim + 2 * self.hidden_size
        self.transition = transition_net(size, self.hidden_size, self.latent_dim, self.activation)

    def frames(self) -> FFVAE:
        """The same decoder without memory, and its encoder where q(z_n | ...) depends on s_n alone.

        It shares the weights.
        """
        with torch.device("meta"):  # without initial values, which would be drawn from torch's global generator
            frames = FFVAE(self.hidden, self.latent_dim, self.activation, self.signal)
        weights = {"log_power_mean": self.log_power_mean, "log_power_std": self.log_power_std}
        for name, part in (("encoder", self.listen), ("decoder", self.decoder), ("output", self.output)):
            weights |= {f"{name}.{key}": tensor for key, tensor in part.state_dict().items()}
        heads = zip(self.direct.weight.detach().chunk(2), self.direct.bias.detach().chunk(2), strict=True)
        for name, (weight, bias) in zip(("mean_head", "log_variance_head"), heads, strict=True):
            weights |= {f"{name}.weight": weight[:, : self.hidden[0]], f"{name}.bias": bias}
        frames.load_state_dict(weights, assign=True)
        return frames.eval()

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once; the model does not condition on the past of the speech."""
        return self.emit(z), self.moments_before(z)

    def moments_before(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps at once."""
        before = shifted(z)
        first = run(self.first, before)
        return moments(self.transition(torch.cat([before, first, run(self.second, first)], -1)))

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """Step by step."""
        z, steps = torch.zeros_like(epsilon[:, 0]), []
        first = second = z.new_zeros(len(z), self.hidden_size)
        for n in range(epsilon.shape[1]):
            first = step(self.first, z, first)
            second = step(self.second, first, second)
            z = reparameterised(*moments(self.transition(torch.cat([z, first, second], -1))), epsilon[:, n])
            steps.append(z)
        return torch.stack(steps, 1)
