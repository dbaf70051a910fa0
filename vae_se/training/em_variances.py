"""What EM finds for training mixtures: the variances that a noise-aware noisy encoder is given."""

from __future__ import annotations

import dataclasses

import torch

from ..assemble import build_em
from ..config import Config
from ..inference.asking import found_variances
from ..inference.em import init, step
from ..likelihood import LogVariances
from ..noisy_encoder import NoisyEncoding
from ..priors import SpeechPrior
from ..rng import Streams, numpy_stream
from .mixtures import MixtureBatch
from .noisy_encoder_loss import power_of

#: EM runs 1 to this many iterations, so that the network sees early estimates and late ones.
MOST_ITERATIONS = 4

#: Part of the mixtures whose variances are moved towards the truth, by a uniform part of the way: better
#: estimates than EM has after one answer of the network, as it may have after two.
NEAR_TRUTH = 0.15


@dataclasses.dataclass(frozen=True)
class _Answer:
    """A noisy encoder that has answered already."""

    encoding: NoisyEncoding
    noise_aware: bool = False

    def __call__(
        self, power: torch.Tensor, mask: torch.Tensor, *, given: LogVariances | None = None
    ) -> NoisyEncoding:
        """The answer."""
        return self.encoding


class EMVariances:
    """Runs the EM of the default settings, with ``prior``, from a network's answer."""

    def __init__(self, prior: SpeechPrior) -> None:
        self.prior = prior
        self.em = build_em(Config().override({"inference.noisy_encoder": None}), prior)

    @torch.no_grad()
    def draw(
        self, encoding: NoisyEncoding, batch: MixtureBatch, seed: int, stream: str, step_number: int
    ) -> LogVariances:
        """The variances for the mixtures ``batch``, whose ``encoding`` the network gave without knowing any.

        They are a function of the arguments alone.
        """
        power = power_of(batch.speech + batch.noise)
        mask = torch.ones_like(power[..., 0])
        rows, frames = mask.shape
        names = [f"{stream} {step_number} {row}" for row in range(rows)]
        streams = Streams.from_seed(seed, names, [frames] * rows, power.device)
        random = numpy_stream(seed, "em", stream, step_number)
        model = dataclasses.replace(self.em, noisy_encoder=_Answer(encoding))
        state = init(model, power, mask, streams)
        for _ in range(int(random.integers(1, MOST_ITERATIONS + 1))):
            state, _ = step(model, power, mask, state, streams)
        found = found_variances(model, power, mask, state)
        near = torch.from_numpy(random.random(rows) < NEAR_TRUTH)
        if near.any():
            part = torch.from_numpy(random.random(int(near.sum()))).to(power)[:, None, None]
            truth = self._truth(power_of(batch.speech[near]), power_of(batch.noise[near]), streams)
            found.speech[near] = torch.lerp(found.speech[near], truth.speech, part)
            found.noise[near] = torch.lerp(found.noise[near], truth.noise, part)
        return found

    def _truth(self, speech: torch.Tensor, noise: torch.Tensor, streams: Streams) -> LogVariances:
        """The decoder's variance for clean speech of this power, and W H fitted to noise of this power."""
        model, mask = self.em.noise, torch.ones_like(noise[..., 0])
        rows = Streams(streams.generators[: len(noise)], streams.lengths[: len(noise)])
        state = model.start_at(model.init(noise, mask, rows), noise, mask)
        z = self.prior.encode(speech, mask).mean
        return LogVariances(self.prior.decode(z.unsqueeze(1), mask)[:, 0], model.variance(state).log())
