"""Every floor of the project in one place, with its physical meaning.

Recordings are brought to an active level of 1 (see :mod:`vae_se.audio.level`) and the STFT has a window
of unit energy, so a power of 1 is that of white noise as loud as the speech.
"""

from __future__ import annotations

# -80 dB below the active level: under the quantisation noise of a 16-bit file whose speech has an
# ordinary level (-75 dB), so whatever lies below is not signal. Added to power spectra before their
# logarithm is taken and to what the likelihood sees: digital silence then is very quiet noise.
POWER_FLOOR = 1e-8

# The least noise variance. Below the power floor, so that it never shows; it keeps ratios of a silent
# frame finite.
VARIANCE_FLOOR = 1e-10

# Range of a decoder's log-variance in nats of power: from far below the floor to 104 dB above the
# active level. A decoder far from its training data otherwise overflows float32 in exp().
LOG_VARIANCE_MIN = -24.0
LOG_VARIANCE_MAX = 24.0

# Below this active level (-200 dBFS) a recording is treated as silent: scaling it up would only
# amplify rounding.
SILENCE_RMS = 1e-10

# Guards divisions whose numerator vanishes too (multiplicative updates of an unused atom).
TINY = 1e-30
