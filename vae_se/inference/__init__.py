"""Monte Carlo EM: E-step kernels, M-step, filter, diagnostics. Sees protocols, never a concrete prior."""
