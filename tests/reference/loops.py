"""The slow loops, straight from the papers. They stay; the fast code must match them."""

from __future__ import annotations

import numpy as np


def nmf_step(power, speech, weight, w, h, fixed=0):
    """One update of H, then of W: Leglaive, Girin and Horaud (2018), with weighted draws.

    power (N, F), speech (R, N, F), weight (R, N), w (K, F), h (N, K); the first ``fixed`` rows of w stay.
    """
    draws, frames, bins = speech.shape
    atoms = w.shape[0]

    def variance(r, n, f):
        return speech[r, n, f] + sum(h[n, k] * w[k, f] for k in range(atoms))

    new_h = np.empty_like(h)
    for n in range(frames):
        for k in range(atoms):
            above = below = 0.0
            for r in range(draws):
                for f in range(bins):
                    v = variance(r, n, f)
                    above += weight[r, n] * power[n, f] * w[k, f] / v**2
                    below += weight[r, n] * w[k, f] / v
            new_h[n, k] = h[n, k] * np.sqrt(above / below)
    h = new_h
    new_w = w.copy()
    for k in range(fixed, atoms):
        for f in range(bins):
            above = below = 0.0
            for r in range(draws):
                for n in range(frames):
                    v = variance(r, n, f)
                    above += weight[r, n] * power[n, f] * h[n, k] / v**2
                    below += weight[r, n] * h[n, k] / v
            new_w[k, f] = w[k, f] * np.sqrt(above / below)
    return new_w, h


def gain_step(power, unit_speech, noise, weight, gain, concentration):
    """The gain per frame: the update of the same, and the root of the quadratic that the gamma prior adds."""
    draws, frames, bins = unit_speech.shape
    out = np.empty(frames)
    for n in range(frames):
        a = b = 0.0
        for r in range(draws):
            for f in range(bins):
                v = gain[n] * unit_speech[r, n, f] + noise[n, f]
                a += weight[r, n] * power[n, f] * unit_speech[r, n, f] / v**2
                b += weight[r, n] * unit_speech[r, n, f] / v
        c = concentration
        if c == 0:
            out[n] = gain[n] * np.sqrt(a / b)
        else:
            roots = np.roots([b + c, -c, -a * gain[n] ** 2])
            out[n] = roots[roots > 0][0]
    return out


def wiener(power, speech, noise, weight):
    """Posterior mean gain and posterior variance from weighted draws, bin by bin."""
    draws, frames, bins = speech.shape
    mean, variance = np.zeros((frames, bins)), np.zeros((frames, bins))
    for n in range(frames):
        for f in range(bins):
            m = [speech[r, n, f] / (speech[r, n, f] + noise[n, f]) for r in range(draws)]
            mean[n, f] = sum(weight[r, n] * m[r] for r in range(draws))
            within = sum(weight[r, n] * m[r] * noise[n, f] for r in range(draws))
            between = sum(weight[r, n] * (m[r] - mean[n, f]) ** 2 for r in range(draws))
            variance[n, f] = within + power[n, f] * between
    return mean, variance
