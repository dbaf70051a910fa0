"""E-step kernels, one file each; importing this package registers them all."""

from . import encoder_is as encoder_is
from . import encoder_mh as encoder_mh
from . import langevin as langevin
from . import map as map
from . import mh as mh
from . import vem as vem
from . import vem_encoder as vem_encoder
from . import vem_full as vem_full
from . import vem_is as vem_is
from . import vem_mh as vem_mh
from .base import ESTEPS, EStep, Info

__all__ = ["ESTEPS", "EStep", "Info"]
