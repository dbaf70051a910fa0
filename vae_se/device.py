"""The device that a name asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from .errors import UsageError


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one; else "cpu", "cuda" or "cuda:i". UsageError for what is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}", "known: auto, cpu, cuda, cuda:0, ...") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported", "known: auto, cpu, cuda, cuda:0, ...")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(f"no device {name!r}: {count} CUDA devices are at hand", "use --device cpu or auto")
    return device


@contextlib.contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """Matrix products on a GPU's tensor cores in TF32: factors of 10 bits, sums in float32.

    For training, where draws are far noisier than that. On other devices nothing changes, and afterwards
    everything is as it was.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
