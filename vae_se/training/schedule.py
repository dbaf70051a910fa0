"""Functions of the step number: learning rate, weight of the KL term, scheduled sampling."""

from __future__ import annotations

import math


def learning_rate(step: int, total: int, top: float, warmup: int, final: float) -> float:
    """Linear increase over ``warmup`` steps to ``top``, then a cosine down to ``final * top`` at ``total``.

    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, without restarts.
    ``step`` counts from 0, ``decay`` is a fraction of ``total``; ``warmup`` is limited to a tenth of ``total``.

    >>> [round(learning_rate(step, 100, 1.0, 10, 0.0), 2) for step in (0, 9, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """
    warmup = min(warmup, total // 10)
    if step < warmup:
        return top * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return top * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))


def trapezoid(step: int, total: int, top: float, warmup: int, decay: float) -> float:
    """Linear increase over ``warmup`` steps to ``top``, constant, then linear to 0 over the part ``decay``.

    ``step`` counts from 0, ``decay`` is a fraction of ``total``; ``warmup`` is limited to a tenth of ``total``.

    >>> [round(trapezoid(step, 100, 1.0, 10, 0.5), 2) for step in (0, 9, 49, 75, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    rise = min(1.0, (step + 1) / max(1, min(warmup, total // 10)))
    fall = min(1.0, (total - step) / max(1, round(decay * total)))
    return top * min(rise, fall)


def beta(step: int, steps_per_epoch: int, top: float, warmup_epochs: float) -> float:
    """Weight of the KL term: a linear increase from 0 to ``top`` over ``warmup_epochs``.

    Bowman et al., Generating sentences from a continuous space, 2016.

    >>> [beta(step, 10, 1.0, 2.0) for step in (0, 10, 20, 30)]
    [0.0, 0.5, 1.0, 1.0]
    """
    warmup = warmup_epochs * steps_per_epoch
    return top if step >= warmup else top * step / warmup


def own_past(step: int, steps_per_epoch: int, top: float, first_epochs: float, rise_epochs: float) -> float:
    """Probability that scheduled sampling feeds the model its own past output.

    It is 0 for ``first_epochs``, then increases linearly to ``top`` over ``rise_epochs``. Bengio et al.,
    Scheduled sampling for sequence prediction with recurrent neural networks, 2015.

    >>> [own_past(step, 10, 0.8, 1.0, 2.0) for step in (0, 10, 20, 30, 40)]
    [0.0, 0.0, 0.4, 0.8, 0.8]
    """
    rise = (step / steps_per_epoch - first_epochs) / max(1e-9, rise_epochs)
    return top * min(1.0, max(0.0, rise))
