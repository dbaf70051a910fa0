"""Speech priors, one file per architecture; importing this package registers them all."""

from typing import Any

from ..deprecated import renamed_attribute
from ..signal_spec import SignalSpec
from . import ae as ae
from . import dynamical as dynamical
from . import ffvae as ffvae
from . import flow_vae as flow_vae
from . import flow_zuko as flow_zuko
from . import gamma_vae as gamma_vae
from . import squared_error as squared_error
from .base import PRIORS, SpeechPrior
from .posterior import GaussianPosterior, Posterior
from .store import load_prior, save_prior

__all__ = ["PRIORS", "GaussianPosterior", "Posterior", "SignalSpec", "SpeechPrior", "load_prior", "save_prior"]


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name)
