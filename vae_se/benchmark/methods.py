"""Methods by name: a baseline, the enhancer with a preset, an entry point, or a folder of enhanced files.

There are two ways to add a method. A package declares an entry point::

    [project.entry-points."vae_se.methods"]
    my-method = "my_package:enhance"

where ``enhance(noisy, rate)`` takes and returns (T,) float32 samples (a class is constructed with the
protocol's options and has a method ``enhance``). Or another program enhances the files, and ``--external
NAME=DIR`` scores them; their names are the ids of the mixtures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..config import METHODS, Config
from ..errors import AudioError, UsageError, VaeSeError, nearest
from .spec import MethodSpec, check_label

GROUP = "vae_se.methods"
#: Names of the enhancer, and the preset of each.
ENHANCERS = {
    "mcem": "default",
    "default": "default",
    "fast": "fast",
    "best": "best",
    "mcem-textbook": "default",
}
_EXTERNAL = "external"


class Enhancing(Protocol):
    """A loaded method: ``noisy`` (T,) float32 to an estimate (T,). Only oracles use ``clean``."""

    def __call__(self, noisy: np.ndarray, rate: int, *, clean: np.ndarray, name: str) -> np.ndarray: ...


def external(label: str, folder: str) -> MethodSpec:
    """The spec of ``--external NAME=DIR``. Raises UsageError where there is no such folder."""
    check_label(label)
    if not Path(folder).is_dir():
        raise UsageError(f"--external {label}={folder}: no such folder")
    return MethodSpec(label, _EXTERNAL, (("dir", str(Path(folder).resolve())),))


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def check_method(spec: MethodSpec) -> None:
    """Raise UsageError for an unknown name or option, without loading anything heavy."""
    from ..baselines import BASELINES

    if spec.use == _EXTERNAL:
        external(spec.label, dict(spec.options).get("dir", ""))
    elif spec.use in ENHANCERS:
        _config(spec, seed=0)
    elif spec.use in _entry_points():
        pass  # the options of an entry point are checked by the method itself
    elif spec.use in BASELINES:
        if spec.options:
            raise UsageError(f"the baseline {spec.use} takes no options, got {spec.options[0][0]!r}")
    else:
        known = [*BASELINES, *ENHANCERS, *_entry_points(), _EXTERNAL]
        raise UsageError(f"unknown method {spec.use!r} in [methods]", nearest(spec.use, known))


def load_method(spec: MethodSpec, seed: int, threads: int | None = None) -> Enhancing:
    """The callable of a spec. Heavy imports happen here, in the process that runs the method.

    ``threads``: of the enhancer (:meth:`~vae_se.enhancement.enhancer.Enhancer.from_pretrained`).
    """
    from ..baselines import BASELINES

    if spec.use == _EXTERNAL:
        return _External(Path(dict(spec.options)["dir"]))
    if spec.use in ENHANCERS:
        return _Enhancer(_config(spec, seed), threads)
    points = _entry_points()
    if spec.use in points:
        return _EntryPointMethod(points[spec.use].load(), dict(spec.options))
    baseline = BASELINES[spec.use]

    def run(noisy: np.ndarray, rate: int, *, clean: np.ndarray, name: str) -> np.ndarray:
        return baseline.enhance(noisy, rate, clean=clean if baseline.oracle else None)

    return run


def describe_method(spec: MethodSpec, seed: int) -> dict[str, Any]:
    """What the results of a method depend on, for the header of the results.

    For the enhancer: all its settings, and digests of the weights of its prior (None where there are none)
    and of its noisy encoder, where it uses one.
    """
    about: dict[str, Any] = {"use": spec.use, "options": dict(spec.options)}
    if spec.use in ENHANCERS:
        config = _config(spec, seed)
        about["settings"] = {
            key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in config.flat().items()
        }
        about["weights"] = _weights(config.prior)
        if chosen := config.inference.noisy_encoder:
            network = _weights(config.prior, "noisy_encoder") if chosen == "auto" else _weights(chosen)
            about |= {"noisy_encoder": network} if network else {}
    return about


def _weights(prior: str, below: str = "") -> str | None:
    from ..data.files import sha256
    from ..priors.store import locate

    try:
        return sha256(locate(prior) / below / "weights.safetensors")
    except (OSError, VaeSeError):
        return None


def _config(spec: MethodSpec, seed: int) -> Config:
    """The settings of the enhancer: its preset with the protocol's seed and options."""
    options = dict(spec.options)
    config = Config.preset(options.pop("preset", ENHANCERS[spec.use]))
    method = spec.use if spec.use in METHODS else config.method
    return config.override({"seed": seed, "method": method, **options})


class _Enhancer:
    def __init__(self, config: Config, threads: int | None) -> None:
        from ..enhancement.enhancer import Enhancer

        self._enhancer = Enhancer.from_pretrained(config=config, device="cpu", threads=threads)

    def __call__(self, noisy: np.ndarray, rate: int, *, clean: np.ndarray, name: str) -> np.ndarray:
        return np.asarray(self._enhancer.enhance(noisy, rate, name=name))


@runtime_checkable
class _Enhances(Protocol):
    def enhance(self, noisy: np.ndarray, rate: int) -> np.ndarray: ...


class _EntryPointMethod:
    """A method of another package: a function, or an object with a method ``enhance``."""

    def __init__(self, loaded: Any, options: dict[str, Any]) -> None:
        if isinstance(loaded, type):
            loaded = loaded(**options)
        elif options:
            raise UsageError("a function as entry point takes no options", "make it a class that takes them")
        self._enhance: Callable[[np.ndarray, int], object] = (
            loaded.enhance if isinstance(loaded, _Enhances) else loaded
        )

    def __call__(self, noisy: np.ndarray, rate: int, *, clean: np.ndarray, name: str) -> np.ndarray:
        return np.asarray(self._enhance(noisy, rate))


class _External:
    """Files that another program wrote: ``DIR/ID.wav``, or any other suffix that libsndfile reads."""

    def __init__(self, folder: Path) -> None:
        from ..data.files import list_audio

        self._folder = folder
        self._paths = {str(Path(path).with_suffix("")): path for path in list_audio(folder)}
        # An id may contain dots, and its last part would then count as a suffix above; hence both keys.
        self._paths |= {path: path for path in self._paths.values()}

    def __call__(self, noisy: np.ndarray, rate: int, *, clean: np.ndarray, name: str) -> np.ndarray:
        from ..data.files import read

        if name not in self._paths:
            raise AudioError(f"no file for {name} in {self._folder}")
        samples, file_rate = read(self._folder / self._paths[name])
        if file_rate != rate:
            raise AudioError(f"sample rates differ: {self._paths[name]} {file_rate} Hz, the mixture {rate} Hz")
        return samples
