"""First values of the parameters that make a narrow, deep tanh stack train: no change of the model."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

from ..numerics import POWER_FLOOR
from .recipes import TrainOptions

# Standard deviation of the first layer's pre-activations on speech: well inside tanh's linear part.
_FIRST_LAYER_STD = 0.5
# Of the output's weights, over what set_statistics leaves: the log-spectra that they make spread over
# some 3.5 nepers, not over one.
_OUTPUT_GAIN = 3.0


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
