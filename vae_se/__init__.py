"""Bayesian speech enhancement: a VAE trained on clean speech, an NMF noise model, Monte Carlo EM.

    import vae_se

    y = vae_se.enhance(x, rate)  # numpy or torch, (T,) or (C, T); same type, shape, rate and level out
    enhancer = vae_se.Enhancer.from_pretrained("default")
    prior = vae_se.load_prior("default")
    module = vae_se.nn.EnhancerModule.from_pretrained()  # a torch.nn.Module, (B, C, T) in and out

Nothing heavy is imported before one of these names is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import deprecated

__version__ = "0.1.0"
__all__ = ["Enhancer", "VaeSeError", "__version__", "enhance", "load_prior", "nn"]

if TYPE_CHECKING:
    from . import nn
    from .enhancement.enhancer import Enhancer, enhance
    from .errors import VaeSeError
    from .priors import load_prior

_HOME = {
    "Enhancer": "enhancement.enhancer",
    "enhance": "enhancement.enhancer",
    "load_prior": "priors",
    "VaeSeError": "errors",
}
_MODULES = {"nn"}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


deprecated.install()
