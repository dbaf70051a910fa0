"""Dynamical priors (dynamical VAEs), one file each; importing this package registers them all."""

from . import dkf as dkf
from . import driven_dkf as driven_dkf
from . import dsae as dsae
from . import latent_rnn as latent_rnn
from . import rvae as rvae
from . import srnn as srnn
from . import storn as storn
from . import vrnn as vrnn
from .base import Dynamical

__all__ = ["Dynamical"]
