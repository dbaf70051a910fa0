"""Two thin layers in place of a decoder's output layer, and their file beside the weights."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import nn

from ..storage.atomic import write_atomically
from ..storage.untrusted import load_tensors

#: Name of the file in the folder of a prior.
FILE = "thin_layers.safetensors"


@dataclasses.dataclass(frozen=True)
class ThinLayers:
    """eta = outward (inward h) + bias, for the H units h of the last hidden layer.

    ``inward`` (rank, H), ``outward`` (F, rank), ``bias`` (F,); ``error``: the root mean square error in nats
    that was asked for; ``digest``: that of the prior's weights.
    """

    inward: torch.Tensor
    outward: torch.Tensor
    bias: torch.Tensor
    error: float
    digest: str

    def serve(self, output: nn.Linear, error: float, digest: str) -> bool:
        """Whether these are the layers for ``output``, an ``error`` and weights of this ``digest``."""
        (bins, size), rank = output.weight.shape, len(self.inward)
        shapes = [tuple(values.shape) for values in (self.inward, self.outward, self.bias)]
        return self.error == error and self.digest == digest and shapes == [(rank, size), (bins, rank), (bins,)]

    def save(self, folder: Path) -> None:
        """Write the file in ``folder``."""
        tensors = {
            "inward": self.inward,
            "outward": self.outward,
            "bias": self.bias,
            "error": torch.tensor(self.error, dtype=torch.float64),
            "digest": torch.frombuffer(bytearray.fromhex(self.digest), dtype=torch.uint8),
        }
        write_atomically(folder / FILE, safetensors.torch.save(tensors))

    @classmethod
    def read(cls, folder: Path) -> ThinLayers | None:
        """What the file in ``folder`` holds; None where there is none, or it cannot be used: the layers can be
        computed again."""
        try:
            tensors = load_tensors(folder / FILE)
            return cls(
                tensors["inward"], tensors["outward"], tensors["bias"], float(tensors["error"]),
                bytes(tensors["digest"].tolist()).hex(),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, RuntimeError):
            return None


class Weights(Protocol):
    """What has weights: a torch module."""

    def state_dict(self) -> dict[str, Any]:
        """Parameters and stored buffers by name."""


def weights_digest(module: Weights) -> str:
    """Digest of all weights of a module as they are in memory."""
    digest = hashlib.blake2b(digest_size=12)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
