"""Monte Carlo EM: E-step kernels, M-step, posterior filter and diagnostics.

:mod:`.em` holds the algorithm. The package depends on the protocols of speech priors and noise models, never on
a concrete one.
"""
