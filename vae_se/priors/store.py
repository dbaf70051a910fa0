"""Priors on disk: safetensors and JSON, which cannot hold code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ..audio.resample import check_rate
from ..deprecated import warn
from ..device import usual_torch
from ..errors import PriorError, UnknownPriorError, UsageError, VaeSeError, nearest
from ..signal_spec import SignalSpec
from ..storage.atomic import write_atomically
from ..storage.untrusted import load_json, load_tensors, positive
from .base import PRIORS, PriorModule, SpeechPrior
from .thin_layers import ThinLayers, weights_digest

FORMAT = 1

#: Name of the file of weights in the folder of a prior or a noisy encoder.
WEIGHTS = "weights.safetensors"

#: Keywords of the architectures that release 0.1.0 wrote, and their present names.
RENAMED_KEYWORDS = {"memory": "hidden_size"}


def pretrained_folder() -> Path:
    """Folder of the shipped priors: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "pretrained"
    return inside if inside.is_dir() else package.parent / "pretrained"


def names() -> list[str]:
    """Names of the shipped priors."""
    folder = pretrained_folder()
    return sorted(p.parent.name for p in folder.glob("*/config.json")) if folder.is_dir() else []


def locate(name_or_path: str | Path) -> Path:
    """Folder of a shipped prior, by name, or of one that ``vae-se train`` wrote.

    Raises UnknownPriorError where there is none.
    """
    path = Path(name_or_path)
    shipped = pretrained_folder() / str(name_or_path)
    for folder in (shipped, path):
        if (folder / "config.json").is_file():
            return folder
    if path.is_dir():
        raise UnknownPriorError(f"no prior in {path}", "expected config.json and weights.safetensors there")
    raise UnknownPriorError(f"unknown prior {str(name_or_path)!r}", nearest(str(name_or_path), names()))


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a prior; keywords of release 0.1.0 get their present names, with a warning.

    Raises PriorError where it is missing, unreadable, incomplete or of another format.
    """
    try:
        config = load_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise PriorError(f"cannot read {folder / 'config.json'}: {error}", "is the prior complete?") from None
    for key in ("format", "architecture", "model", "signal"):
        if key not in config:
            raise PriorError(f"{folder / 'config.json'} has no {key!r}", "write it with vae-se train")
    if config["format"] != FORMAT:
        raise PriorError(
            f"{folder} has format {config['format']!r}, this version reads {FORMAT}", "update vae-se or retrain"
        )
    return config | {"model": current_keywords(config["model"], folder / "config.json")}


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of weights.safetensors by name. Raises PriorError where it is missing or damaged."""
    path = folder / WEIGHTS
    try:
        return load_tensors(path)
    except (OSError, ValueError) as error:
        raise PriorError(f"cannot read {path}: {error}", "is the file complete?") from None


def weights_misfit(folder: Path, error: Exception) -> PriorError:
    """The error for weights in ``folder`` that the network of their configuration does not take; ``error``: of
    its constructor or of ``load_state_dict``, of which the first two lines are quoted."""
    reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
    return PriorError(f"the weights in {folder} do not fit their config: {reason}", "fetch it again")


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json."""
    write_atomically(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())


def current_keywords(model: Any, path: Path) -> Any:
    """The keywords ``model`` of a network under their present names; a deprecated one gives a warning."""
    if not isinstance(model, dict):
        return model  # the constructor reports it
    for old in RENAMED_KEYWORDS.keys() & model.keys():
        warn(f"the keyword {old!r} in {path}", repr(RENAMED_KEYWORDS[old]), stacklevel=4)
    return {RENAMED_KEYWORDS.get(key, key): value for key, value in model.items()}


def build(config: dict[str, Any]) -> PriorModule:
    """An untrained prior from its configuration; PriorError where that makes no sense."""
    try:
        return _construct(config)
    except VaeSeError as error:
        raise PriorError(f"bad configuration of a prior: {error.message}", error.hint) from None
    except Exception as error:  # constructors raise many types for arguments of a wrong type
        raise PriorError(f"bad configuration of a prior: {error}", "was it edited by hand?") from None


def _construct(config: dict[str, Any]) -> PriorModule:
    signal = SignalSpec(**config["signal"])
    sizes = (signal.rate, signal.window, signal.hop)
    if not all(positive(size, int) for size in sizes) or not positive(signal.active_rms, float):
        raise UsageError(f"a signal of {config['signal']}", "rate, window and hop are whole numbers above 0")
    check_rate(signal.rate, "the prior")
    # Layers draw their initial weights from torch's global generator, whose state must not change.
    with torch.random.fork_rng(devices=[]):
        prior: PriorModule = PRIORS[config["architecture"]](**config["model"], signal=signal)
        return prior


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]] | None:
    """Shapes of a prior's tensors, without allocating them: a configuration may ask for any size.

    None for an architecture that cannot be constructed without its tensors, or for an unusable configuration.
    """
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in _construct(config).state_dict().items()}
    except Exception:  # build() reports the reason
        return None


@usual_torch()
def load_prior(name_or_path: str | Path = "default", device: str | torch.device = "cpu") -> SpeechPrior:
    """Load a prior by shipped name or folder: in float32, frozen, in evaluation mode.

    Where config.json has an entry ``frames``, name and digest of another prior, weights.safetensors holds the
    other layers alone, and those of the frames are that prior's.

    Raises PriorError where it is unknown, incomplete, truncated, or does not fit its configuration, and where
    the prior of its frames is missing or another one.
    """
    folder = locate(name_or_path)
    config, tensors, weights = read_config(folder), read_weights(folder), folder / WEIGHTS
    stored_layers = ThinLayers.read(folder)
    if "frames" in config:
        frames = _frames(folder, config["frames"])
        kind: type[PriorModule] = PRIORS[config["architecture"]]
        tensors |= kind.tensors_of_frames(frames)
        stored_layers = frames.stored_layers
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    shapes = _shapes(config)
    if shapes is None or shapes == found:
        prior = build(config)
        shapes = {name: tuple(t.shape) for name, t in prior.state_dict().items()}
    if shapes != found:
        wrong = sorted(n for n in shapes.keys() | found.keys() if shapes.get(n) != found.get(n))
        raise PriorError(
            f"{weights} does not fit its config: {wrong[0]} is {found.get(wrong[0])}, "
            f"expected {shapes.get(wrong[0])}" + (f" (and {len(wrong) - 1} more)" if wrong[1:] else ""),
            "weights.safetensors and config.json must come from the same training",
        )
    prior.load_state_dict(tensors)
    prior.stored_layers = stored_layers
    return prior.to(device).eval().requires_grad_(False)


def _frames(folder: Path, entry: Any) -> PriorModule:
    """The prior that gives its frames to the one in ``folder``; ``entry``: its name and digest."""
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("prior", "digest")):
        raise PriorError(f"{folder / 'config.json'}: frames has no prior and digest", "was it edited by hand?")
    name = entry["prior"]
    problem = f"{folder} holds dynamics alone, and its frames are those of the prior {name!r}"
    try:
        place = locate(name)
        if "frames" in read_config(place):
            raise PriorError(f"{problem}, which has none of its own", "was config.json edited by hand?")
        frames = load_prior(place)
    except UnknownPriorError:
        raise PriorError(f"{problem}, which is missing", "install vae-se again") from None
    if weights_digest(frames) != entry["digest"]:
        raise PriorError(f"{problem}, which has other weights here", "take both from one release")
    assert isinstance(frames, PriorModule)
    return frames


def save_prior(prior: SpeechPrior, folder: str | Path, architecture: str, **extra: Any) -> None:
    """Write weights.safetensors (see :func:`stored_tensors`) and config.json.

    ``extra`` (training, scores) goes into config.json.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    signal = prior.signal
    config = {
        "format": FORMAT,
        "architecture": architecture,
        "model": prior.config(),
        "signal": {
            "rate": signal.rate,
            "window": signal.window,
            "hop": signal.hop,
            "active_rms": signal.active_rms,
        },
        **extra,
    }
    save_weights(prior, folder)
    write_config(folder, config)


def save_weights(prior: SpeechPrior, folder: Path) -> None:
    """Write weights.safetensors alone."""
    write_atomically(folder / WEIGHTS, safetensors.torch.save(stored_tensors(prior)))


def store_thin_layers(folder: str | Path, error: float) -> int | None:
    """Compute the cheaper form of a stored prior's decoder (``compress``) and keep it beside the weights.

    It takes a tenth of a second, which the enhancement of a short file then does not wait for. Returns its
    rank, or None where the prior has none.
    """
    prior = load_prior(folder)
    layers = prior.thin_layers(error)
    if layers is None:
        return None
    layers.save(Path(folder))
    return len(layers.inward)


def stored_tensors(model: SpeechPrior | nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of weights.safetensors, on the CPU: weight matrices in float16, all others as they are.

    Half precision halves the size; :func:`load_prior` converts back to float32. Biases and buffers
    (statistics, masks, indices) are small and stay as they are: the rounding of the output's bias would be
    the largest error, and a standard deviation must not round to 0. So does a matrix with a value beyond the
    range of float16.
    """
    matrices = {name for name, parameter in model.named_parameters() if parameter.ndim > 1}
    tensors = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu()
        half = tensor.half()
        fits = name in matrices and bool(half.isfinite().all())
        tensors[name] = (half if fits else tensor).contiguous()
    return tensors
