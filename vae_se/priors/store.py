"""Priors on disk: safetensors and JSON, nothing that can run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ..audio.resample import check_rate
from ..errors import PriorError, UsageError, VaeSeError, nearest
from ..signal_spec import SignalSpec
from ..storage.atomic import write_atomically
from ..storage.untrusted import load_json, load_tensors, positive
from .base import PRIORS, SpeechPrior

FORMAT = 1


def pretrained_folder() -> Path:
    """Where the shipped priors lie: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "pretrained"
    return inside if inside.is_dir() else package.parent / "pretrained"


def names() -> list[str]:
    """Names of the shipped priors."""
    folder = pretrained_folder()
    return sorted(p.parent.name for p in folder.glob("*/config.json")) if folder.is_dir() else []


def locate(name_or_path: str | Path) -> Path:
    """Folder of a shipped prior, or of one that ``vae-se train`` wrote."""
    path = Path(name_or_path)
    shipped = pretrained_folder() / str(name_or_path)
    for folder in (shipped, path):
        if (folder / "config.json").is_file():
            return folder
    if path.is_dir():
        raise PriorError(f"no prior in {path}", "expected config.json and weights.safetensors there")
    raise PriorError(f"unknown prior {str(name_or_path)!r}", nearest(str(name_or_path), names()))


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a prior, checked for its keys."""
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
    return config


def build(config: dict[str, Any]) -> Any:
    """An untrained prior from its configuration."""
    try:
        return _construct(config)
    except VaeSeError as error:
        raise PriorError(f"bad configuration of a prior: {error}", error.hint) from None
    except Exception as error:  # whatever a constructor stumbles over
        raise PriorError(f"bad configuration of a prior: {error}", "was it edited by hand?") from None


def _construct(config: dict[str, Any]) -> Any:
    signal = SignalSpec(**config["signal"])
    sizes = (signal.rate, signal.window, signal.hop)
    if not all(positive(size, int) for size in sizes) or not positive(signal.active_rms, float):
        raise UsageError(f"a signal of {config['signal']}", "rate, window and hop are whole numbers above 0")
    check_rate(signal.rate, "the prior")
    # Layers draw their first weights from torch's global generator: nobody else's numbers may change.
    with torch.random.fork_rng(devices=[]):
        return PRIORS[config["architecture"]](**config["model"], signal=signal)


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]] | None:
    """Shapes of a prior's tensors, none of which is made: a configuration may ask for any size.

    None for an architecture that cannot be laid out without them, or a configuration that cannot be used.
    """
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in _construct(config).state_dict().items()}
    except Exception:  # build() says what is wrong
        return None


def load_prior(name_or_path: str | Path = "default", device: str | torch.device = "cpu") -> SpeechPrior:
    """Load a prior by shipped name or folder; frozen, in evaluation mode.

    Raises PriorError when it is unknown, incomplete, truncated, or of another architecture.
    """
    folder = locate(name_or_path)
    config = read_config(folder)
    weights = folder / "weights.safetensors"
    try:
        tensors = load_tensors(weights)
    except (OSError, ValueError) as error:
        raise PriorError(f"cannot read {weights}: {error}", "is the file complete?") from None
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
    return prior.to(device).eval().requires_grad_(False)


def save_prior(prior: Any, folder: str | Path, architecture: str, **extra: Any) -> None:
    """Write weights.safetensors and config.json; ``extra`` (training, scores) goes into the config."""
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
    tensors = {name: t.detach().cpu().contiguous() for name, t in prior.state_dict().items()}
    write_atomically(folder / "weights.safetensors", safetensors.torch.save(tensors))
    write_atomically(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())
