"""EM with an exact E-step: the latents are discrete, so that their posterior can be computed."""

import dataclasses
import math

import pytest
import torch

from tests.toys import tiny_prior
from vae_se.inference.gain import Gain
from vae_se.inference.target import Target
from vae_se.noise.activation_penalty import ActivationPenalty
from vae_se.noise.impulsive import Impulsive
from vae_se.noise.multiplicative import NMFState, normalise, product
from vae_se.noise.nmf import NMF
from vae_se.noise.stationary import Stationary
from vae_se.rng import Streams

VALUES, FRAMES, ITERATIONS = 6, 30, 25

MODELS = {
    "nmf": NMF(rank=2),
    "long steps": NMF(rank=2, exponent=1.0),
    "smooth": NMF(rank=2, smoothness=4.0),
    "impulsive": Impulsive(rank=2),
    "stationary": Stationary(0.5, smoothness=0.0),
}
GAINS = {"fixed": Gain(), "frame": Gain("frame", 5.0), "free": Gain("frame", 0.0), "file": Gain("file", 0.0)}


@pytest.fixture
def recording():
    """Power (1, N, F) made by z of one of VALUES values and noise with two spectra; log v; W and H."""
    prior = tiny_prior(dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    z = 2 * torch.randn(1, VALUES, 1, prior.latent_dim, generator=generator, dtype=torch.float64)
    log_variance = prior.decode(z).expand(1, VALUES, FRAMES, -1)
    truth = torch.randint(VALUES, (FRAMES,), generator=generator)
    speech = log_variance[:, truth, torch.arange(FRAMES)].exp()
    noise = normalise(random(1, 2, speech.shape[-1]), random(1, FRAMES, 2))
    power = -(speech + product(noise)) * torch.log1p(-random(*speech.shape))
    return prior, power, log_variance, noise


@pytest.mark.parametrize("gain", list(GAINS))
@pytest.mark.parametrize("noise", list(MODELS))
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_evidence_never_falls(recording, noise, gain, scale):
    """log p(x; W, H, g), with the priors on H and g, after every iteration; speech and noise scaled alike.

    Where it can be, the start is the truth: there is little to gain there, and much to lose.
    """
    prior, power, log_variance, truth = recording
    power, log_variance = power * scale, log_variance + math.log(scale)
    model, step = MODELS[noise], GAINS[gain]
    mask = torch.ones(1, FRAMES, dtype=torch.float64)
    state = model.init(power, mask, Streams.from_seed(0, ["a"], [FRAMES]))
    if isinstance(model, NMF):
        extra = state.w.shape[1] - 2
        h = torch.nn.functional.pad(truth.h * scale, (0, extra))
        state = NMFState(torch.cat([truth.w, state.w[:, 2:]], 1), h)
    if noise == "impulsive":
        choice = torch.arange(FRAMES).remainder(11).unsqueeze(0)  # every alternative somewhere
        state = model.pick([state, *model.alternatives(state, power, mask)], choice)
    target = Target(prior, power, model.variance(state), mask.clone(), mask)
    penalty = ActivationPenalty(smoothness=model.smoothness if noise == "smooth" else 0.0)
    values = []
    for _ in range(ITERATIONS):
        joint = target.log_likelihood(log_variance) - math.log(VALUES)
        held = step.concentration * (target.gain.log() - target.gain).sum()
        if penalty:
            held = held - penalty.cost(state.h, power, mask)
        values.append(float(torch.logsumexp(joint, 1).sum() + held))
        log_weight = torch.log_softmax(joint, 1)
        target = dataclasses.replace(target, gain=step.update(target, log_variance, log_weight))
        speech = target.speech_variance(log_variance)
        state = model.update(state, power, speech, log_weight, mask)
        target = dataclasses.replace(target, noise=model.variance(state))
    rises = torch.tensor(values).diff()
    assert (rises >= -1e-10 * abs(values[0])).all(), rises.min()
    assert values[-1] > values[0] + 1e-3 * abs(values[0])
