"""The compute device, by name, and its precision."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import torch

from .errors import UsageError


def choose_device(name: str) -> torch.device:
    """The device called ``name``: "cpu", "cuda", "cuda:i", or "auto" for CUDA where it is available.

    Raises UsageError for an unknown name or a missing device.
    """
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
        raise UsageError(f"no device {name!r}: {count} CUDA devices are available", "use --device cpu or auto")
    return device


def factor_type(name: str | None, device: torch.device) -> torch.dtype | None:
    """The type that the setting ``inference.precision`` calls ``name``; None for float32.

    Raises UsageError for an unknown name.
    """
    if name not in (None, "auto", "bfloat16"):
        raise UsageError(f"inference.precision = {name!r}", "known: bfloat16, auto, none")
    here = name == "bfloat16" or (name == "auto" and device.type == "cpu" and multiplies_bfloat16())
    return torch.bfloat16 if here else None


@functools.cache
def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's CPU multiplies in bfloat16; False where Linux does not say so."""
    try:
        return not {"amx_bf16", "avx512_bf16"}.isdisjoint(cpuinfo.read_text(encoding="utf-8").split())
    except OSError:
        return False


@contextlib.contextmanager
def usual_torch() -> Iterator[None]:
    """Run the block, or a decorated function, in single precision and outside ``torch.inference_mode``.

    A caller may have set another default type, or be in inference mode, whose tensors take no part in the
    gradients of the E-step. Both are as before at the end.
    """
    before = torch.get_default_dtype()
    if before != torch.float32:
        torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        if before != torch.float32:
            torch.set_default_dtype(before)


@contextlib.contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """Compute matrix products in TF32 on a GPU: factors with 10-bit mantissas, sums in float32.

    For training, whose random draws are much noisier than that. Has no effect on other devices. Restores the
    caller's setting at the end.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
