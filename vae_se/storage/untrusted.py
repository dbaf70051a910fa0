"""Read JSON and weights from others: they run no code, and cannot take unlimited memory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

#: Largest JSON file in bytes; the history of a training has some hundred thousand.
JSON_LIMIT = 1 << 24
# Types of parameters and buffers.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_OTHERS = (torch.bool, torch.uint8, torch.int32, torch.int64)


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file. Raises OSError, or ValueError with the reason."""
    with path.open("rb") as file:
        data = file.read(JSON_LIMIT + 1)
    if len(data) > JSON_LIMIT:
        raise ValueError("it is larger than any configuration")
    return parse_object(data.decode("utf-8"))


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError with the reason."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    return found


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a safetensors file, by name, on the CPU.

    Raises OSError, or ValueError with the reason: not a safetensors file, or values that are not finite.
    """
    try:
        tensors = safetensors.torch.load_file(path, device="cpu")
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from None
    for name, tensor in tensors.items():
        numbers = tensor.dtype in _OTHERS or (tensor.dtype in _FLOATS and bool(torch.isfinite(tensor).all()))
        if not numbers:
            raise ValueError(f"{name} holds values that are not finite numbers")
    return tensors


def positive(value: Any, kind: type) -> bool:
    """Whether ``value`` is positive, finite and of type ``kind``, int or float (an int counts as a float)."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is float and isinstance(value, float):
        return math.isfinite(value) and value > 0
    return whole and 0 < value < 1 << 63
