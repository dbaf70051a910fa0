"""Names of release 0.1.0 that have changed: each works for one more release, with a warning.

:data:`MODULES` maps old modules to new ones, :data:`NAMES` old names to new names, and
:data:`vae_se.config.RENAMED_KEYS` old settings to new ones.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

_PACKAGE = "vae_se"

#: Old module to new module, both below the package.
MODULES = {
    "enhancer": "enhancement.enhancer",
    "channel": "enhancement.results",
    "separation": "enhancement.segmented_em",
    "chunks": "enhancement.segments",
    "tape": "enhancement.sample_buffer",
    "residue": "enhancement.residual_noise",
    "longfile": "enhancement.long_file",
    "shared_noise": "enhancement.shared_noise",
    "streaming": "enhancement.online",
    "streaming.online": "enhancement.online",
    "streaming.window": "enhancement.sliding_window",
    "trackers": "noise.tracking",
    "recognition": "noisy_encoder",
    "recognition.network": "noisy_encoder.network",
    "recognition.store": "noisy_encoder.store",
    "inference.basin": "inference.multistart",
    "inference.start": "inference.initialisation",
    "inference.presence": "inference.speech_presence",
    "inference.mstep": "inference.gain",
    "inference.particles": "inference.draws",
    "noise.stretch": "noise.noise_segment",
    "noise.times": "noise.time_range",
    "noise.memory": "noise.continuation",
    "noise.heavy": "noise.heavy_tailed",
    "noise.penalties": "noise.activation_penalty",
    "noise.spectra": "noise.spectrum_prior",
    "noise.weights": "noise.activation_penalty",
    "data.simulation": "noisy_encoder.simulation",
    "training.amortise": "training.noisy_encoder",
    "training.run": "training.prior",
    "atomic": "storage.atomic",
    "untrusted": "storage.untrusted",
}

#: Old name to new name, in every module.
NAMES = {
    "Recogniser": "NoisyEncoder",
    "Recognition": "NoisyEncoding",
    "load_recogniser": "load_noisy_encoder",
    "save_recogniser": "save_noisy_encoder",
    "train_recogniser": "train_noisy_encoder",
    "AmortiseOptions": "NoisyEncoderOptions",
    "AmortiseJob": "NoisyEncoderJob",
    "Samples": "Draws",
    "Chunk": "Segment",
    "Tape": "SampleBuffer",
    "MemoryTape": "MemoryBuffer",
    "DiskTape": "DiskBuffer",
    "Signal": "SignalSpec",
    "Penalty": "ActivationPenalty",
    "Weights": "PenaltyWeights",
    "Separator": "SegmentedEM",
    "Progress": "ProgressCallback",
    "Frames": "WindowFrames",
    "leaves_noise": "keeps_noise",
    "part_left": "residual_gain",
    "complex_gaussian_misfit": "complex_gaussian_nll",
    "log_normal_misfit": "log_normal_nll",
}

#: Old name to new name, both below the package, where a name moved or has a new name in one module only.
MOVED = {
    "inference.em.MonteCarloEM": "inference.monte_carlo_em.MonteCarloEM",
    "inference.em.Estimate": "inference.averaging.Estimate",
    "inference.estep.Info": "inference.estep.EStepInfo",
    "inference.estep.base.Info": "inference.estep.base.EStepInfo",
}


class DeprecatedNameWarning(FutureWarning):
    """An old name was used; the message contains the new one."""


def warn(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that ``old`` is deprecated in favour of ``new``.

    ``stacklevel``: as for :func:`warnings.warn`; 3 is the caller of the function that calls this one.
    """
    warnings.warn(
        f"{old} is deprecated and will be removed in the next release: use {new}",
        DeprecatedNameWarning,
        stacklevel=stacklevel,
    )


def current_name(key: str, renamed: Mapping[str, str]) -> str:
    """The current name of the setting ``key``; warns where it is an old name, a key of ``renamed``."""
    if key not in renamed:
        return key
    warn(key, renamed[key], stacklevel=4)
    return renamed[key]


def renamed_attribute(module: str, name: str, renamed: Mapping[str, str] = NAMES) -> Any:
    """The attribute ``name`` of a module under its present name, for the module's ``__getattr__``; it warns.

    ``renamed`` maps old names to new ones. Raises AttributeError where it has no such name.
    """
    if name not in renamed:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warn(f"{module}.{name}", renamed[name])
    return getattr(importlib.import_module(module), renamed[name])


def moved_attribute(module: str, name: str) -> Any:
    """The object that :data:`MOVED` gives for ``module.name``, for a module's ``__getattr__``.

    Raises AttributeError where there is none.
    """
    old = f"{module}.{name}"
    new = MOVED.get(old.removeprefix(f"{_PACKAGE}."))
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warn(old, f"{_PACKAGE}.{new}")
    home, _, name = new.rpartition(".")
    return getattr(importlib.import_module(f"{_PACKAGE}.{home}"), name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports an old module as an alias: an empty module whose attributes are those of the new one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != _PACKAGE or name not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=name in ("streaming", "recognition"))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        home = f"{_PACKAGE}.{MODULES[spec.name.partition('.')[2]]}"
        warn(spec.name, home, stacklevel=2)
        alias = types.ModuleType(spec.name, f"Deprecated alias of {home}.")

        def look_up(name: str) -> Any:
            module = importlib.import_module(home)
            if hasattr(module, name):
                return getattr(module, name)
            return renamed_attribute(home, name)

        alias.__getattr__ = look_up  # type: ignore[method-assign]
        return alias

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: the alias has no code of its own."""


def install() -> None:
    """Make old module names importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
