"""Initial weights of a noisy encoder from one that is trained already."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from ..errors import UsageError
from ..noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from ..noisy_encoder.store import (
    CAPABILITIES,
    AnyNoisyEncoder,
    architecture_of,
    load_network,
    read_config,
    steps_done,
)
from .noisy_encoder_card import history_of
from .report import Record

_BLOCK = re.compile(r"time\.(\d+)\.")


@torch.no_grad()
def take_weights(model: AnyNoisyEncoder, folder: Path) -> None:
    """Set the weights and statistics of ``model`` to those of the noisy encoder in ``folder``.

    A convolutional network may have more residual blocks than the other one. A further block starts as the
    identity, so that both networks are the same function at first (compare Chen, Goodfellow and Shlens,
    Net2Net: accelerating learning via knowledge transfer, 2016). The network may belong to another prior, such
    as an earlier state of the model's. Raises UsageError where other sizes differ, PriorError where ``folder``
    holds no noisy encoder.
    """
    donor = load_network(folder)
    ours, theirs = (network.config() | {"kind": architecture_of(network)} for network in (model, donor))
    for config in (ours, theirs):
        for key in CAPABILITIES:  # weights that only one has are without influence on the other's outputs
            config.pop(key, None)
    if isinstance(model, ConvolutionalNoisyEncoder) and isinstance(donor, ConvolutionalNoisyEncoder):
        more = ours.pop("blocks") - theirs.pop("blocks")
        if more < 0:
            raise UsageError(f"start: {folder} has {donor.blocks} blocks, which is more", "raise blocks")
    if ours != theirs:
        different = ", ".join(f"{key} = {value}" for key, value in theirs.items() if ours.get(key) != value)
        raise UsageError(f"start: the network in {folder} has other sizes", f"--set {different}")
    missing = model.load_state_dict(donor.state_dict(), strict=False).missing_keys
    for name, parameter in model.named_parameters():
        block = _BLOCK.match(name)
        if name in missing and block and ".mix." in name:
            parameter.zero_()


def keep_all_but_noise_width(model: AnyNoisyEncoder) -> None:
    """Exclude all weights but those of the noise's width from training (``only_noise_width``)."""
    assert isinstance(model, ConvolutionalNoisyEncoder)
    model.requires_grad_(False)
    model.up_noise_width.requires_grad_(True)


def earlier_training(folder: Path) -> tuple[dict[str, Any], list[Record]]:
    """Steps, seconds, command and note of the training in ``folder``, and its validations.

    A training that this one started from is the entry ``start``.
    """
    config = read_config(folder)
    training = config["training"]
    record = {key: training[key] for key in ("seconds", "command")}
    record |= {"steps": steps_done(training), "note": training.get("note", "")}
    if "start" in training:
        record["start"] = training["start"]
    return record, history_of(folder, config)
