"""Samples as callers hold them, NumPy arrays, torch tensors or lists, to (C, T) in floating point and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..audio.reader import LOUDEST, is_sound
from ..audio.resample import check_rate
from ..errors import AudioError, UsageError

#: Largest number of channels of an array or a stream. Each is enhanced by itself; more are a mistaken axis.
MOST_CHANNELS = 64

#: Integers that hold samples: the value at full scale, and that of silence.
INTEGERS = {"int16": (2**15, 0), "int32": (2**31, 0), "uint8": (2**7, 2**7)}


def checked_rate(rate: Any, label: str = "the recording") -> int:
    """A sampling rate in Hz as an int; ``16000.0`` and ``"16000"`` are rates too.

    Raises UsageError for what is no whole number of Hz, AudioError for a rate that no recording has.
    """
    try:
        number = float(rate)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise UsageError(f"a rate of {rate!r}", "give the sampling rate of the samples, in Hz") from None
    if not math.isfinite(number) or number != round(number) or number < 1:
        raise UsageError(f"a rate of {rate} Hz", "give the sampling rate of the samples, in whole Hz")
    check_rate(round(number), label)
    return round(number)


def as_channels(item: Any, check_shape: bool = True) -> np.ndarray:
    """Checked samples (C, T), in double precision where the input's is more than single, else in single.

    Integers (see :data:`INTEGERS`) are scaled to a full scale of 1.0. With ``check_shape``, more channels than
    samples, and more than :data:`MOST_CHANNELS`, are refused: the axes are the other way round.
    """
    array = _as_array(item)
    if array.ndim not in (1, 2):
        raise UsageError(f"samples of shape {array.shape}", "expected (T,) or (C, T)")
    if array.size == 0:
        raise AudioError("the recording has no samples", "is the file empty?")
    if check_shape and array.ndim == 2:
        channels, samples = array.shape
        if channels > samples or channels > MOST_CHANNELS:
            raise UsageError(
                f"samples of shape {array.shape}: {channels} channels of {samples} samples",
                "transpose? Channels come first, (C, T): pass x.T",
            )
    if array.dtype.name in INTEGERS:
        full, silence = INTEGERS[array.dtype.name]
        precision = np.float64 if array.dtype.itemsize > 2 else np.float32
        array = np.divide(np.subtract(array, silence, dtype=precision), full, dtype=precision)
    if not is_sound(array):
        bad = int(np.count_nonzero(~(np.abs(array) <= LOUDEST)))
        kind = "NaN or infinite" if not np.isfinite(array).all() else f"beyond {LOUDEST:g}"
        raise AudioError(f"{bad} of {array.size} samples are {kind}", "repair the recording first")
    return np.atleast_2d(array)


def like(item: Any, array: np.ndarray) -> Any:
    """``array`` (C, T) in the type and shape of ``item``; integers saturate at full scale."""
    if isinstance(item, torch.Tensor):
        name = str(item.dtype).removeprefix("torch.")
        out = _as_integers(array, name) if name in INTEGERS else array
        return torch.from_numpy(out.reshape(item.shape)).to(dtype=item.dtype, device=item.device)
    if isinstance(item, (list, tuple)):
        return type(item)(array.reshape(np.shape(item)).tolist())
    dtype = np.asarray(item).dtype
    out = _as_integers(array, dtype.name) if dtype.name in INTEGERS else array
    return out.reshape(np.shape(item)).astype(dtype, copy=False)


def _as_array(item: Any) -> np.ndarray:
    """The samples of ``item``: integers as they are, the others in single or double precision."""
    if isinstance(item, torch.Tensor):
        item = item.detach().cpu()
        if item.dtype in (torch.float16, torch.bfloat16):
            item = item.float()
        array = item.numpy()
    else:
        try:
            array = np.asarray(item)
        except ValueError:
            raise UsageError("channels of different lengths", "expected (T,) or (C, T)") from None
    if array.dtype.name in INTEGERS:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(
            f"samples of type {array.dtype}",
            f"pass floating-point samples, full scale at 1.0, or {', '.join(INTEGERS)} at theirs",
        )
    return array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32, copy=False)


def _as_integers(array: np.ndarray, name: str) -> np.ndarray:
    """Samples with full scale at 1.0 as integers of the type ``name``, rounded and saturating."""
    full, silence = INTEGERS[name]
    limits = np.iinfo(name)
    scaled = np.rint(array.astype(np.float64) * full + silence)
    return np.clip(scaled, limits.min, limits.max).astype(name)
