"""The last step of EM: a learnt gain from the two filters, the noisy encoder's and EM's own.

Both filters estimate E[s | x] = m x. Where they differ, the better estimate depends on how far, at which level
and at which frequency. A small network per bin reads the log-odds of both filters and the frequency, and it
corrects the mean of the two log-odds. Neighbours of the bin as further inputs did not help
(eval/experiments.md).

Its 369 numbers are learnt by running EM on simulated mixtures (eval/scripts/fit_learnt_gain.py, result in
learnt_gain.json), with the risk by which the noisy encoder is trained: distance of compressed spectra, and SDR
(:func:`vae_se.training.noisy_encoder_loss.filter_risk`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import torch

#: The network learnt by eval/scripts/fit_learnt_gain.py.
FITTED = Path(__file__).with_name("learnt_gain.json")

#: Filters are read up to these log-odds.
_MOST = 8.0

#: Weights (out, in) and biases (out,) of a linear layer.
Layer = tuple[torch.Tensor, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class LearntGain:
    """A network of linear ``layers`` with ReLU between them, from four features of a bin to a correction."""

    layers: Sequence[Layer]

    @classmethod
    @functools.cache
    def fitted(cls) -> LearntGain:
        """The one that is shipped."""
        stored = json.loads(FITTED.read_text())["layers"]
        return cls([(torch.tensor(layer["weight"]), torch.tensor(layer["bias"])) for layer in stored])

    def log_odds(self, own: torch.Tensor, em: torch.Tensor) -> torch.Tensor:
        """Log-odds of the gain, from the filter ``own`` of the noisy encoder and EM's, all (B, N, F)."""
        first, second = log_odds(own), log_odds(em)
        frequency = torch.linspace(-1, 1, own.shape[-1], dtype=own.dtype, device=own.device)
        # Units first: products with long rows take three quarters of the time of products with short ones.
        features = (first / 4, second / 4, (first - second) / 4, frequency.expand_as(first))
        hidden = torch.stack(features).flatten(1)
        for number, (weight, bias) in enumerate(self.layers):
            hidden = hidden.relu_() if number else hidden
            hidden = torch.addmm(bias.to(own).unsqueeze(1), weight.to(own), hidden)
        return (first + second) / 2 + hidden[0].view_as(first)

    @property
    def width(self) -> int:
        """Units of the widest layer."""
        return max(len(bias) for _, bias in self.layers)


def log_odds(filter_: torch.Tensor) -> torch.Tensor:
    """log m - log (1 - m) of a filter m, bounded."""
    return torch.logit(filter_, 1e-6).clamp(-_MOST, _MOST)


def corrected(
    pooled: torch.Tensor, own: torch.Tensor, em: torch.Tensor, weight: float, learnt: LearntGain
) -> torch.Tensor:
    """``pooled``, a filter (B, N, F), moved towards the learnt gain by ``weight`` (0 to 1), in log-odds."""
    return torch.sigmoid(torch.lerp(log_odds(pooled), learnt.log_odds(own, em), weight))
