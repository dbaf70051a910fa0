"""Initial values of the parameters of a prior. They change the optimisation, not the model."""

from __future__ import annotations

import itertools
from typing import Any, cast

import torch
from torch import nn

from ..errors import UsageError
from ..numerics import POWER_FLOOR
from ..priors import SpeechPrior
from ..priors.dynamical import Dynamical
from ..priors.feedforward import FeedForward, TwoHeads
from ..priors.ffvae import FFVAE
from ..priors.store import locate, read_config
from .recipes import TrainOptions

# Standard deviation of the first layer's pre-activations on speech: within the linear range of tanh.
_FIRST_LAYER_STD = 0.5
# Factor of the output's weights after set_statistics: log-spectra with a spread of about 3.5 nats instead of
# one.
_OUTPUT_GAIN = 3.0
_OF_START = ("command", "seconds", "epochs_run", "data_note", "start")
_AFRESH = "--set 'start=\"\"' begins afresh"


@torch.no_grad()
def set_first_values(model: SpeechPrior, power: torch.Tensor, options: TrainOptions) -> None:
    """Apply the options ``initial_log_variance`` and ``fitted_start`` to a feed-forward prior.

    ``power`` (N, F): training frames.

    - The scale of the first layer is measured on them. The bins of a frame are correlated, so the usual rules,
      which assume independent inputs, give pre-activations that saturate tanh.
    - With a small ``initial_log_variance`` the first draws of z follow the encoder. At a standard deviation
      of 1 they are mostly noise, and the decoder learns to ignore them.
    - The output's bias starts at the logarithm of the mean power, the best constant variance. At the mean
      logarithm, |s|^2 / v of a loud frame is in the thousands.

    It draws from torch's global generator: call it within :func:`vae_se.training.loop.initialise`. Raises
    UsageError for ``fitted_start`` of a dynamical prior.
    """
    if isinstance(model, TwoHeads):
        model.log_variance_head.bias.fill_(options.initial_log_variance)
    if not options.fitted_start:
        return
    if not isinstance(model, FeedForward):
        raise UsageError("train.fitted_start: only for feed-forward priors", "--set fitted_start=false")
    layers = [m for m in itertools.chain(model.encoder, model.decoder) if isinstance(m, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    log_power = torch.log(power + POWER_FLOOR)
    features = (log_power - model.log_power_mean) / model.log_power_std
    layers[0].weight.mul_(_FIRST_LAYER_STD / layers[0](features).std())
    model.output.weight.mul_(_OUTPUT_GAIN)
    model.output.bias.copy_(power.double().mean(0).add(POWER_FLOOR).log())


def start_from(model: SpeechPrior, donor: SpeechPrior) -> None:
    """Initialise ``model`` with the weights of ``donor``, a prior of its architecture and sizes, or else by
    :func:`take_layers`."""
    if type(model) is type(donor) and isinstance(model, FeedForward | Dynamical):
        if (model.config(), model.signal) != (donor.config(), donor.signal):
            raise UsageError(
                f"train.start: the prior to start from has other sizes ({donor.config()})", _AFRESH
            )
        model.load_state_dict(donor.state_dict())
    else:
        take_layers(model, donor)


def earlier_training(name: str) -> dict[str, Any]:
    """Command, duration, epochs and data of the training of the prior ``name``, for the card of one that
    started from it; with the entry ``start``, if that one started from another."""
    training = read_config(locate(name)).get("training", {})
    return {key: training[key] for key in _OF_START if key in training}


def keep_frames(model: SpeechPrior) -> None:
    """Exclude encoder and decoder of a dynamical prior from training (``only_dynamics``).

    Raises UsageError for another prior, and for one whose p(z) is fixed.
    """
    if not isinstance(model, Dynamical) or model.standard_normal:
        raise UsageError("train.only_dynamics: this prior has no dynamics of latents", "use latent-rnn or dkf")
    frames = (model.encoder_parameters(), model.decoder.parameters(), model.output.parameters())
    for parameter in itertools.chain.from_iterable(frames):
        parameter.requires_grad_(False)


@torch.no_grad()
def take_layers(model: SpeechPrior, donor: SpeechPrior) -> None:
    """Initialise a dynamical prior from ``donor``, an ``ffvae``, so that both are the same function at first.

    The layers that both have, and the statistics, are the donor's. Where a layer of the model has recurrent
    states as further inputs, their weights start at 0, and so do those of the earlier latents in the
    posterior. Latents that the donor lacks (those of the whole sequence, in ``dsae``) come first; their
    weights start at 0 as well. Raises UsageError where the two do not fit.
    """
    if not (isinstance(model, Dynamical) and isinstance(donor, FFVAE)):
        raise UsageError(
            "train.start: a prior starts from one of its own kind, or a dynamical one from an ffvae", _AFRESH
        )
    more = model.latent_dim - donor.latent_dim
    ours = model.hidden, model.activation, model.signal
    if more < 0 or ours != (donor.hidden, donor.activation, donor.signal):
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
    if model.head is not None:
        model.head.weight.zero_()
