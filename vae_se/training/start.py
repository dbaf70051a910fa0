"""First values of the parameters, from which training gets further in the same time: no change of the model."""

from __future__ import annotations

import itertools
from typing import Any, cast

import torch
from torch import nn

from ..errors import UsageError
from ..numerics import POWER_FLOOR
from ..priors.dynamical.base import Dynamical
from ..priors.ffvae import FFVAE
from .recipes import TrainOptions

# Standard deviation of the first layer's pre-activations on speech: well inside tanh's linear part.
_FIRST_LAYER_STD = 0.5
# Of the output's weights, over what set_statistics leaves: the log-spectra that they make spread over
# some 3.5 nats, not over one.
_OUTPUT_GAIN = 3.0
_AFRESH = "--set 'start=\"\"' begins afresh"


@torch.no_grad()
def set_first_values(model: Any, power: torch.Tensor, options: TrainOptions) -> None:
    """Apply ``initial_log_variance`` and ``fitted_start`` of the options to a model like ``ffvae``.

    ``power`` (N, F) are some training frames, of which the first layer's scale is measured: the bins of a
    frame rise and fall together, so a sum over 513 of them is far larger than the usual rules (which
    assume independent inputs) allow for, and tanh saturates at the start. ``initial_log_variance`` makes
    the first draws of z follow the encoder; at its usual start, a standard deviation of 1, they are mostly
    noise, and the decoder learns to ignore them before there is anything to hear. With the output's bias
    at the logarithm of the mean power (the best constant variance) the first losses are of the order of
    the last ones; started at the mean logarithm, a loud frame's |x|^2 / v is in the thousands.
    Draws from torch's global generator: call it within :func:`vae_se.training.loop.initialise`.
    """
    head = getattr(model, "log_variance_head", None)
    if isinstance(head, nn.Linear):
        head.bias.fill_(options.initial_log_variance)
    if not options.fitted_start:
        return
    layers = [m for m in itertools.chain(model.encoder, model.decoder) if isinstance(m, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    log_power = torch.log(power + POWER_FLOOR)
    features = (log_power - model.log_power_mean) / model.log_power_std
    layers[0].weight.mul_(_FIRST_LAYER_STD / layers[0](features).std())
    model.output.weight.mul_(_OUTPUT_GAIN)
    model.output.bias.copy_(power.double().mean(0).add(POWER_FLOOR).log())


@torch.no_grad()
def take_layers(model: Any, donor: Any) -> None:
    """Let a prior with memory start as ``donor``, an ``ffvae``: what it remembers has no say yet.

    The layers that both have, and the statistics, are the donor's. Where one of the model's layers sees
    recurrent states beside what the donor's sees, these columns start at 0; so does the part of the
    posterior that weighs earlier latents. Latents that the donor lacks (those of a whole sequence, in
    ``dsae``) come first, and are not listened to either. Raises UsageError where the two do not fit.
    """
    if not (isinstance(model, Dynamical) and isinstance(donor, FFVAE)):
        raise UsageError(
            "train.start: only a prior with memory can start from another, and from an ffvae", _AFRESH
        )
    more = model.latent_dim - donor.latent_dim
    if more < 0 or any(
        getattr(model, name) != getattr(donor, name) for name in ("hidden", "activation", "signal")
    ):
        theirs = f"{list(donor.hidden)}, {donor.activation}, {donor.latent_dim} latents, {donor.signal}"
        raise UsageError(f"train.start: the prior to start from has other layers ({theirs})", _AFRESH)
    model.listen.load_state_dict(donor.encoder.state_dict())
    model.output.load_state_dict(donor.output.state_dict())
    model.log_power_mean.copy_(donor.log_power_mean)
    model.log_power_std.copy_(donor.log_power_std)
    model.decoder[1:].load_state_dict(donor.decoder[1:].state_dict())
    first, narrower = cast(nn.Linear, model.decoder[0]), cast(nn.Linear, donor.decoder[0])
    first.weight.zero_()
    first.weight[:, more : model.latent_dim] = narrower.weight
    first.bias.copy_(narrower.bias)
    moments = zip(model.direct.weight.chunk(2), model.direct.bias.chunk(2), strict=True)
    for (weight, bias), head in zip(moments, (donor.mean_head, donor.log_variance_head), strict=True):
        weight[more:] = 0
        weight[more:, : model.hidden[0]] = head.weight
        bias[more:] = head.bias
    model.head.weight.zero_()
