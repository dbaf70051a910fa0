"""Objective, validation and loop of the training of a noisy encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ..noisy_encoder import NoisyEncoder, NoisyEncoding
from ..priors import SpeechPrior
from ..priors.frame import complex_gaussian_nll
from ..rng import torch_stream
from .checkpoint import Progress
from .job import Identity
from .loop import Figures, LearningRate, Trainer, adamw
from .mixtures import MixtureBatch, MixtureSource
from .noisy_encoder_options import NoisyEncoderOptions

_VALID_BATCHES = 4
_FINAL_RATE = 0.01  # learning rate at the end, relative to the highest


@dataclasses.dataclass(frozen=True)
class Loss:
    """Means per frame in nats, less constants.

    ``speech``: -log p(s | z); ``kl``: KL(q(z | x) || p(z)); ``noise``: -log p(b | noise variance). Scalars.
    """

    speech: torch.Tensor
    kl: torch.Tensor
    noise: torch.Tensor

    def total(self, noise_weight: float) -> torch.Tensor:
        """The objective."""
        return self.speech + self.kl + noise_weight * self.noise

    def parts(self) -> torch.Tensor:
        """The three terms, detached, (3,)."""
        return torch.stack([self.speech, self.kl, self.noise]).detach()


def loss_of(
    prior: SpeechPrior, encoding: NoisyEncoding, batch: MixtureBatch, generator: torch.Generator
) -> Loss:
    """Negative ELBO of the clean frames under the frozen decoder with q(z | x), and -log p of the noise.

    E_q[-log p(s | z)] is estimated by one reparameterised draw. KL(q || p(z)) is in closed form where
    p(z) = N(0, I), else estimated by that draw. The noise is complex Gaussian with the network's variance. All
    three are sums over bins and means over frames.
    """
    z, log_q = encoding.posterior.rsample(1, generator)
    eta, log_prior = prior.generate(z)
    kl = encoding.posterior.kl() if prior.standard_normal else log_q - log_prior
    return Loss(
        prior.nll(power_of(batch.speech), eta[:, 0]).mean(),
        kl.mean(),
        complex_gaussian_nll(power_of(batch.noise), encoding.log_noise).mean(),
    )


def power_of(spectrum: torch.Tensor) -> torch.Tensor:
    """|x|^2 of a complex spectrogram."""
    return spectrum.real.square() + spectrum.imag.square()


class NoisyEncoderTrainer(Trainer[MixtureBatch, NoisyEncoder]):
    """Trains a noisy encoder for ``options.steps`` steps; the weights after the last step are kept.

    An epoch is ``options.every`` steps. ``say`` is called with a line for each validation.
    """

    def __init__(
        self,
        model: NoisyEncoder,
        prior: SpeechPrior,
        train: MixtureSource,
        valid: MixtureSource,
        options: NoisyEncoderOptions,
        seed: int,
        checkpoint: Path,
        identity: Identity,
        say: Callable[[str], None],
        device: torch.device,
    ) -> None:
        self.prior, self.train, self.valid = prior, train, valid
        self.options, self.seed, self.say = options, seed, say
        self._sums = torch.zeros(3)
        step_size = LearningRate(
            options.steps, options.learning_rate, options.warmup_steps, _FINAL_RATE, options.clip_norm
        )
        super().__init__(model, step_size, checkpoint, identity, device)

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW without weight decay."""
        return adamw(self.model, self.options.learning_rate)

    def finished(self, progress: Progress) -> bool:
        """After ``steps`` steps."""
        return progress.step >= self.options.steps

    def batches(self, progress: Progress) -> Iterator[MixtureBatch]:
        """Mixtures up to the next multiple of ``every`` steps, or the last step."""
        end = (progress.step // self.options.every + 1) * self.options.every
        for step in range(progress.step, min(end, self.options.steps)):
            yield self.train.draw(self.seed, "train", step, self.options.batch).to(self.device)

    def backward(self, batch: MixtureBatch, step: int) -> torch.Tensor:
        """Gradient of the objective; returns the objective and its three terms."""
        power = power_of(batch.speech + batch.noise)
        encoding = self.model(power, torch.ones_like(power[..., 0]))
        terms = loss_of(self.prior, encoding, batch, torch_stream(self.seed, "step", step, device=power.device))
        total = terms.total(self.options.noise_weight)
        total.backward()
        return torch.cat([total.detach().unsqueeze(0), terms.parts()])

    def add_up(self, progress: Progress, figures: torch.Tensor, gradient_norm: float) -> None:
        """Sums over steps. They are not in the checkpoint: there is none within an epoch."""
        self._sums += figures[1:].cpu()

    def totals(self, progress: Progress, rate: float) -> Figures:
        """Means over the epoch's steps."""
        steps = self.options.every - (-progress.step) % self.options.every
        names = ("train_speech", "train_kl", "train_noise")
        means = dict(zip(names, (self._sums / steps).tolist(), strict=True))
        self._sums.zero_()
        return means

    def validate(self) -> Figures:
        """See :func:`validate`."""
        return validate(self.model, self.prior, self.valid, self.seed, self.options, self.device)

    def validation_loss(self, figures: Figures) -> float:
        """The objective."""
        noise = self.options.noise_weight * figures["valid_noise"]
        return figures["valid_speech"] + figures["valid_kl"] + noise

    def epoch_done(self, progress: Progress, best: bool) -> None:
        """Report the record in one line."""
        record: dict[str, Any] = progress.history[-1]
        self.say(", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items()))


@torch.no_grad()
def validate(
    model: NoisyEncoder,
    prior: SpeechPrior,
    valid: MixtureSource,
    seed: int,
    options: NoisyEncoderOptions,
    device: torch.device,
) -> Figures:
    """The three terms of the loss on fixed mixtures, and the gain in SNR of the network alone.

    ``valid_gain_db``: SNR after the Wiener filter v / (v + n), with the speech variance v at the mean of q
    and the network's noise variance n, less the SNR of the mixture; in dB.
    """
    sums, gains = torch.zeros(3), []
    model.eval()
    for number in range(_VALID_BATCHES):
        batch = valid.draw(seed, "valid", number, options.batch).to(device)
        mixture = power_of(batch.speech + batch.noise)
        encoding = model(mixture, torch.ones_like(mixture[..., 0]))
        terms = loss_of(prior, encoding, batch, torch_stream(seed, "valid", number, device=device))
        sums += terms.parts().cpu()
        eta = prior.decode(encoding.posterior.mean.unsqueeze(1))[:, 0]
        wiener = torch.sigmoid(eta - encoding.log_noise)
        error = wiener * (batch.speech + batch.noise) - batch.speech
        gains.append(10 * torch.log10(_energy(batch.noise) / _energy(error)))
    means = (sums / _VALID_BATCHES).tolist()
    return {
        "valid_speech": means[0], "valid_kl": means[1], "valid_noise": means[2],
        "valid_gain_db": float(torch.cat(gains).mean()),
    }  # fmt: skip


def _energy(spectrum: torch.Tensor) -> torch.Tensor:
    return power_of(spectrum).sum((-2, -1)) + 1e-12
