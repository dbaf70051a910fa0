"""Functions of the step number: learning rate and weight of the KL term."""

from __future__ import annotations

import math


def learning_rate(step: int, total: int, top: float, warmup: int, final: float) -> float:
    """Linear rise over ``warmup`` steps to ``top``, then half a cosine down to ``final * top`` at ``total``.

    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, without restarts.
    ``step`` counts from 0; a warm-up longer than a tenth of the training is cut to that.
    """
    warmup = min(warmup, total // 10)
    if step < warmup:
        return top * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return top * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))


def beta(step: int, steps_per_epoch: int, top: float, warmup_epochs: float) -> float:
    """Weight of the KL term: linear from 0 to ``top`` over ``warmup_epochs``.

    Bowman et al., Generating sentences from a continuous space, 2016, sec. 3.1.
    """
    warmup = warmup_epochs * steps_per_epoch
    return top if step >= warmup else top * step / warmup


def own_past(step: int, steps_per_epoch: int, top: float, first_epochs: float, rise_epochs: float) -> float:
    """How often a model hears itself: 0 for ``first_epochs``, then linear to ``top`` over ``rise_epochs``.

    Bengio et al., Scheduled sampling for sequence prediction with recurrent neural networks, 2015, sec. 2.4.
    """
    rise = (step / steps_per_epoch - first_epochs) / max(1e-9, rise_epochs)
    return top * min(1.0, max(0.0, rise))
