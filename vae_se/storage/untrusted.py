"""JSON and weights that somebody else wrote: nothing in them runs, nothing costs memory without end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

#: Bytes of JSON that are looked at: a training's whole history is some hundred thousand.
JSON_LIMIT = 1 << 24
# What a network's parameters and buffers are made of.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_OTHERS = (torch.bool, torch.uint8, torch.int32, torch.int64)


def load_json(path: Path) -> dict[str, Any]:
    """An object of finite numbers. Raises OSError, or ValueError with the reason in words."""
    with path.open("rb") as file:
        data = file.read(JSON_LIMIT + 1)
    if len(data) > JSON_LIMIT:
        raise ValueError("it is larger than any configuration")
    return parse_object(data.decode("utf-8"))


def parse_object(text: str) -> dict[str, Any]:
    """The same from text."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    return found


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Weights by name, on the CPU. Raises OSError, or ValueError where the file is no safetensors of
    finite numbers."""
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
    """Whether ``value`` is an int (or a float, or an int for one) above 0, and finite."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is float and isinstance(value, float):
        return math.isfinite(value) and value > 0
    return whole and 0 < value < 1 << 63
