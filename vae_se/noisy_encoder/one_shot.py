"""The noisy encoder and the decoder as one filter without iterations, and its ONNX file.

The filter is what EM starts from: the Wiener gain v / (v + n) of the decoder's variance v at the mean of
q(z | noisy recording), and the network's variance n of the noise. EM improves on it (eval/results/start.md);
one pass is for devices without Python.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import OutputError, UsageError
from ..priors.base import SpeechPrior
from ..storage.atomic import replacing
from .network import wiener_at
from .store import AnyNoisyEncoder

#: Frames of the recordings by which the file is checked; another number than that of the traced one.
CHECKED_FRAMES = (1, 37, 300)
#: Largest difference of the gain between onnxruntime and torch; 1e-3 is 60 dB below the recording.
TOLERANCE = 1e-3
OPSET = 17
_TRACED_FRAMES = 50


class OneShotFilter(nn.Module):
    """Power (1, N, F) of a noisy recording, at the prior's level, to the Wiener gain (1, N, F), from 0 to 1.

    Raises UsageError for a prior that ties the frames together: its decoder runs over time step by step.
    """

    def __init__(self, prior: SpeechPrior, network: AnyNoisyEncoder) -> None:
        super().__init__()
        if not prior.factorised or not isinstance(prior, nn.Module):
            raise UsageError(
                f"{type(prior).__name__} cannot be exported: it is no network whose frames are independent",
                "give --prior default",
            )
        self.prior, self.network = prior, network

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        """The gain at ``power``."""
        encoding = self.network(power, torch.ones_like(power[..., 0]))
        return wiener_at(self.prior, encoding, encoding.posterior.mean)


def export_onnx(model: OneShotFilter, path: Path, about: dict[str, Any]) -> float:
    """Write the filter as ONNX and check it by onnxruntime on noise of several lengths.

    The input is called ``power``, the output ``gain``; the number of frames is free. Rate, STFT and level of
    the prior, and ``about``, are in the file's metadata. Returns the largest difference of the gain from
    torch's. Raises OutputError where it exceeds :data:`TOLERANCE`; then no file is left.
    """
    import onnx

    signal = model.prior.signal
    generator = torch.Generator().manual_seed(0)
    example = _power(_TRACED_FRAMES, signal.stft.bins, generator)
    with replacing(path) as temporary:
        with torch.no_grad(), _quiet():
            torch.onnx.export(
                model.eval(), (example,), str(temporary), dynamo=False, opset_version=OPSET,
                input_names=["power"], output_names=["gain"],
                dynamic_axes={"power": {1: "frames"}, "gain": {1: "frames"}},
            )  # fmt: skip
        made = onnx.load(str(temporary))
        values = {
            "rate": signal.rate, "window": signal.window, "hop": signal.hop, "active_rms": signal.active_rms,
            **about,
        }  # fmt: skip
        onnx.helper.set_model_props(made, {key: json.dumps(value) for key, value in values.items()})
        onnx.checker.check_model(made)
        onnx.save(made, str(temporary))
        difference = largest_difference(model, temporary)
        if not difference <= TOLERANCE:
            raise OutputError(
                f"onnxruntime differs from torch by {difference:.2g} in the gain",
                "report it with your versions",
            )
    return difference


def largest_difference(model: OneShotFilter, path: Path) -> float:
    """The largest difference of the gain between a file, run by onnxruntime, and ``model``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    largest = 0.0
    for frames in CHECKED_FRAMES:
        power = _power(frames, model.prior.signal.stft.bins, generator)
        (gain,) = session.run(["gain"], {"power": power.numpy()})
        with torch.no_grad():
            expected = model(power)
        if gain.shape != tuple(expected.shape):
            return float("inf")
        largest = max(largest, float((torch.from_numpy(gain) - expected).abs().max()))
    return largest


def _power(frames: int, bins: int, generator: torch.Generator) -> torch.Tensor:
    """Power (1, N, F) of noise whose level varies by 60 dB."""
    level = torch.exp(3 * torch.randn(1, frames, 1, generator=generator))
    return level * torch.empty(1, frames, bins).exponential_(generator=generator)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter prints: remarks about tracing, which the check above makes superfluous."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
