"""Speech above the prior's band: variance from the low band's speech, noise from the recording, one filter."""
