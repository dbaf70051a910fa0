"""Numerical constants of the whole project, each with its physical meaning.

Recordings are scaled to an active level of 1 (:mod:`vae_se.audio.level`) and the STFT window has unit energy,
so white noise as loud as the speech has a power of 1.
"""

from __future__ import annotations

# -80 dB relative to the active level. The quantisation noise of a 16-bit file with speech at an ordinary level
# lies at -75 dB, so what is below the floor is not signal. It is added to power spectra before their logarithm
# is taken and before their likelihood is computed: digital silence becomes very quiet noise.
POWER_FLOOR = 1e-8

# The smallest noise variance. It lies below the power floor, so it has no audible effect; it keeps the ratios
# of a silent frame finite.
VARIANCE_FLOOR = 1e-10

# Range of a decoder's log-variance in nats of power: from far below the floor to 104 dB above the active level.
# The output of a decoder far from its training data would otherwise overflow float32 in exp().
LOG_VARIANCE_MIN = -24.0
LOG_VARIANCE_MAX = 24.0

# A recording below this active level (-200 dBFS) counts as silent: amplifying it would only amplify rounding.
SILENCE_RMS = 1e-10

# Added to a denominator whose numerator vanishes with it (multiplicative updates of an unused atom).
TINY = 1e-30

# Multiplicative updates that fit a noise model to a given variance; further ones hardly lower the divergence.
FIT_UPDATES = 15
