"""E-step kernels, one file each. Importing this package registers all of them."""

from typing import TYPE_CHECKING, Any

from ...deprecated import moved_attribute
from . import encoder_is as encoder_is
from . import encoder_mh as encoder_mh
from . import langevin as langevin
from . import mala as mala
from . import map as map
from . import mh as mh
from . import vem as vem
from . import vem_encoder as vem_encoder
from . import vem_full as vem_full
from . import vem_is as vem_is
from . import vem_mh as vem_mh
from .base import ESTEPS, EStep, EStepInfo

__all__ = ["ESTEPS", "EStep", "EStepInfo"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return moved_attribute(__name__, name)
