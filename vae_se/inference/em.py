"""Monte Carlo EM for x = s + b: a learnt prior on the speech s, a noise model fitted to the recording.

The algorithm is three pure functions. :func:`init` makes the state, :func:`step` is one iteration, and
:func:`posterior_filter` turns the draws of a state into the posterior mean of the speech. ``MonteCarloEM`` in
:mod:`.monte_carlo_em` runs them.

Wei and Tanner, A Monte Carlo implementation of the EM algorithm and the poor man's data augmentation
algorithms, 1990.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from ..deprecated import moved_attribute
from ..errors import UsageError
from ..noise.base import NoiseModel, NoiseState
from ..numerics import POWER_FLOOR
from ..priors.base import SpeechPrior
from ..priors.posterior import Posterior
from ..rng import Streams
from .contextual import Context, ContextualPrior, within
from .estep.base import EStep, State
from .gain import Gain
from .initialisation import Start, first_start
from .noisy_proposal import Encoding, NoisyEncoderNetwork, Proposal, proposal_of
from .target import Target
from .wiener import FilterMoments, filter_moments


@torch.no_grad()
def init(
    model: Model, power: torch.Tensor, mask: torch.Tensor, streams: Streams, start: Start | None = None
) -> EMState:
    """The state before the first iteration.

    ``power``: |x|^2 (B, N, F) at the prior's level; ``mask`` (B, N): 1 where a frame is valid; ``start``:
    initial parameters, by default those of :func:`~.initialisation.first_start`.
    """
    power, proposal = power + POWER_FLOOR, None
    if model.noisy_encoder is not None:
        proposal = model.proposal_of(model.noisy_encoder(power, mask), power, mask)
    if start is None:
        start = first_start(model.prior, model.noise, proposal, model.encoder_floor, power, mask, streams)
    return begin(model, power, mask, streams, start, proposal)


@torch.no_grad()
def begin(
    model: Model,
    power: torch.Tensor,
    mask: torch.Tensor,
    streams: Streams,
    start: Start,
    proposal: Proposal | None,
) -> EMState:
    """The state before the first iteration, for given initial parameters and the noisy encoder's proposal.

    ``power`` includes the power floor; arguments otherwise as of :func:`init`.
    """
    context = None if proposal is None else model.context_of(proposal)
    prior, posterior = within(model.prior, context), start.posterior
    if isinstance(prior, ContextualPrior) and posterior is not None:
        posterior = prior.whitened(posterior)
    deviation = None if proposal is None else proposal.deviation
    target = Target(prior, power, model.noise.variance(start.noise), start.gain, mask, posterior, deviation)
    # The prior's encoder was trained on clean speech, so its input is an estimate of the speech power.
    speech_power = target.less_noise(model.encoder_floor)
    activity = None
    if model.prior.takes_activity:
        activity = model.prior.activity(speech_power)
        target = dataclasses.replace(target, prior=model.prior.driven_by(activity))
    estep = model.estep.init(target, speech_power, streams)
    return EMState(start.noise, start.gain, estep, (), posterior, activity, context, proposal)


@torch.no_grad()
def step(
    model: Model, power: torch.Tensor, mask: torch.Tensor, state: EMState, streams: Streams
) -> tuple[EMState, EMInfo]:
    """One iteration of EM. Arguments as of :func:`init`.

    >>> import torch
    >>> from vae_se.inference.estep import ESTEPS
    >>> from vae_se.noise import NOISES
    >>> from vae_se.priors import PRIORS, SignalSpec
    >>> _ = torch.manual_seed(0)
    >>> prior = PRIORS["ffvae"](hidden=(8, 16), latent_dim=4, signal=SignalSpec(window=64, hop=16))
    >>> model = Model(prior, NOISES["nmf"](rank=2), ESTEPS["map"](), Gain())
    >>> power, mask, streams = torch.rand(1, 20, 33), torch.ones(1, 20), Streams.from_seed(0, ["a"], [20])
    >>> state = init(model, power, mask, streams)
    >>> for _ in range(3):
    ...     state, first = step(model, power, mask, state, streams)

    EM resumes from any state, and the objective does not fall:

    >>> for _ in range(3):
    ...     state, later = step(model, power, mask, state, streams)
    >>> state.iteration, bool(later.objective >= first.objective)
    (6, True)
    """
    target = model.target(power, mask, state)
    # E-step: weighted draws from p(z | x; theta).
    estep, info = model.estep.step(target, state.estep, streams)
    draws = estep.draws
    # M-step: the gain, then the noise, given the speech variance at the new gain.
    gain = model.gain.update(target, draws.log_variance, draws.log_weight, draws.gain_sums)
    speech = dataclasses.replace(target, gain=gain).speech_variance(draws.log_variance)
    noise = model.noise.sample_auxiliary(state.noise, target.power, speech, draws.log_weight, mask, streams)
    noise = model.noise.update(noise, target.power, speech, draws.log_weight, mask)

    found = EMInfo(info.objective, info.ess, info.acceptance)
    trace = (*state.trace, found)
    return dataclasses.replace(state, noise=noise, gain=gain, estep=estep, trace=trace), found


@torch.no_grad()
def posterior_filter(model: Model, power: torch.Tensor, mask: torch.Tensor, state: EMState) -> FilterMoments:
    """E[s | x] and Var[s | x] at the parameters of ``state``, under its latest draws."""
    return filter_moments(model.target(power, mask, state), state.estep.draws)


@dataclasses.dataclass(frozen=True)
class Model:
    """x = s + b, with an E-step for the latents of s and a rule for where EM starts.

    ``encoder_floor``: the first estimate of the speech power is the power less the initial noise, but at least
    this fraction of the power (1: the noisy power). ``noisy_encoder``: a network that proposes the start of
    latents and noise from the noisy recording, or None; ``encoder_prior``: the prior whose latents those are,
    where it is not ``prior``; ``context_weight``: weight of its q(z), with the variance of its own error, as
    prior of the latents, for a prior that is N(0, I) in every frame; ``deviation_weight``: power to which the
    network's deviation is a factor of the speech variance. Raises UsageError for a floor outside (0, 1] or a
    negative weight.
    """

    prior: SpeechPrior
    noise: NoiseModel[Any]
    estep: EStep[Any]
    gain: Gain
    encoder_floor: float = 0.05
    noisy_encoder: NoisyEncoderNetwork | None = None
    encoder_prior: SpeechPrior | None = None
    context_weight: float = 0.0
    deviation_weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.encoder_floor <= 1:
            raise UsageError(f"encoder floor {self.encoder_floor}", "it must be above 0 and at most 1")
        if not self.context_weight >= 0:
            raise UsageError(f"context_weight {self.context_weight}", "it must be 0 (no context) or more")

    def target(self, power: torch.Tensor, mask: torch.Tensor, state: EMState) -> Target:
        """The density of the latents at the parameters of ``state``; adds the power floor to ``power``."""
        prior = self.prior if state.activity is None else self.prior.driven_by(state.activity)
        noise = self.noise.variance(state.noise)
        deviation = None if state.proposal is None else state.proposal.deviation
        effective, floored = within(prior, state.context), power + POWER_FLOOR
        return Target(effective, floored, noise, state.gain, mask, state.noisy_posterior, deviation)

    def proposal_of(self, encoding: Encoding, power: torch.Tensor, mask: torch.Tensor) -> Proposal:
        """What an ``encoding`` of the noisy ``power`` (B, N, F) by the noisy encoder proposes for the prior."""
        latents_of = self.encoder_prior or self.prior
        return proposal_of(encoding, latents_of, self.prior, power, mask, self.deviation_weight)

    def context_of(self, proposal: Proposal) -> Context | None:
        """The prior of the latents that ``proposal`` implies, or None where there is none."""
        usable = self.estep.contextual and self.prior.standard_normal and self.prior.factorised
        if not (self.context_weight and usable) or proposal.context is None:
            return None
        return Context.pooled(proposal.context, self.context_weight)


@dataclasses.dataclass(frozen=True)
class EMInfo:
    """What one iteration reports, per utterance (B,).

    ``objective`` in nats per frame, ``ess``: effective sample size, ``acceptance``: mean acceptance of the
    chains, or None (see :class:`~.estep.base.EStepInfo`).
    """

    objective: torch.Tensor
    ess: torch.Tensor
    acceptance: torch.Tensor | None


#: The reports of all iterations so far.
Trace = tuple[EMInfo, ...]


@dataclasses.dataclass(frozen=True)
class EMState:
    """All that EM carries from one iteration to the next.

    ``noise``: state of the noise model; ``gain`` (B, N); ``estep``: state of the E-step; ``trace``: the reports
    of all iterations so far; ``noisy_posterior``: q(z | noisy recording), or None; ``activity`` (B, N, U):
    voice activity that drives the prior, or None; ``context``: prior of the latents from a noisy encoder, or
    None; ``proposal``: its own posterior of the speech, or None. The latents of ``estep`` and
    ``noisy_posterior`` are whitened where there is a context (inference/contextual.py).
    """

    noise: NoiseState
    gain: torch.Tensor
    estep: State
    trace: Trace = ()
    noisy_posterior: Posterior | None = None
    activity: torch.Tensor | None = None
    context: Context | None = None
    proposal: Proposal | None = None

    @property
    def iteration(self) -> int:
        """Number of iterations done."""
        return len(self.trace)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return moved_attribute(__name__, name)
