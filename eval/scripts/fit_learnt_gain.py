"""Learn the gain from the two filters at the end of EM (vae_se/inference/learnt_gain.py).

    python eval/scripts/fit_learnt_gain.py ../shared/data [--mixtures 160] [--epochs 8]

DATA/speech/train is mixed with noise that is simulated for this purpose, as for the calibration. Neither was in
the training of the noisy encoder, and no recording of noise is used. EM with the default settings gives both
filters. The network is fitted to five sixths of the mixtures by Adam, to the risk of the noisy encoder's own
training, with twice the weight on the SDR. Prints the risk (distance, SDR) on the other mixtures, and writes
vae_se/inference/learnt_gain.json. Takes some minutes. Run it again when the prior, the noisy encoder or the
default settings change, and fit the calibration after it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from fit_calibration import simulated
from torch import nn

from vae_se import Enhancer
from vae_se.inference.learnt_gain import FITTED, LearntGain
from vae_se.inference.noisy_proposal import opinion_pool
from vae_se.rng import Streams, torch_stream
from vae_se.storage.atomic import write_atomically
from vae_se.training.mixtures import MixtureBatch
from vae_se.training.noisy_encoder_loss import filter_risk, power_of
from vae_se.training.pool_mixtures import MixtureSettings

WIDTH, SEED, HELD_OUT = 16, 9, 6
DISTANCE_WEIGHT, SDR_WEIGHT, RATE = 6000.0, 80.0, 8e-3


@dataclasses.dataclass(frozen=True)
class Filtered:
    """A mixture, the filters of the noisy encoder and of EM, and the opinion pool of the two."""

    batch: MixtureBatch
    own: torch.Tensor
    em: torch.Tensor
    pooled: torch.Tensor


def filtered(enhancer: Enhancer, data: Path, count: int) -> list[Filtered]:
    """``count`` mixtures with their filters."""
    em = dataclasses.replace(enhancer.em, encoder_weight=0.0)
    signal, found = enhancer.signal, []
    for number, (clean, noisy, _) in enumerate(simulated(data, enhancer, count, MixtureSettings())):
        speech, mixture = (signal.stft.analyse(torch.from_numpy(wave)[None]) for wave in (clean, noisy))
        power = power_of(mixture)
        mask = torch.ones_like(power[..., 0])
        estimate = em.run(power, mask, Streams.from_seed(SEED, [str(number)], [power.shape[1]]))
        proposal = estimate.state.proposal
        assert proposal is not None
        own = proposal.wiener, proposal.variance
        pooled, _ = opinion_pool(own, (estimate.wiener, estimate.variance), enhancer.em.encoder_weight)
        batch = MixtureBatch(speech, mixture - speech)
        found.append(Filtered(batch, proposal.wiener, estimate.wiener, pooled))
    return found


def risk(gain: Callable[[Filtered], torch.Tensor], items: Sequence[Filtered]) -> list[float]:
    """Distance and negative SDR (dB) of a gain, means over ``items``."""
    with torch.no_grad():
        values = [torch.stack(filter_risk(gain(item), item.batch)) for item in items]
    return [round(float(value), 4) for value in torch.stack(values).mean(0)]


def fit(train: Sequence[Filtered], epochs: int) -> LearntGain:
    """The network with the least risk, from a correction of zero."""
    random, sizes = torch_stream(SEED, "learnt gain"), [(WIDTH, 4), (WIDTH, WIDTH), (1, WIDTH)]
    weights = [torch.randn(size, generator=random) * size[1] ** -0.5 for size in sizes]
    weights[-1].zero_()
    layers = [(weight.requires_grad_(), torch.zeros(len(weight), requires_grad=True)) for weight in weights]
    gain = LearntGain(layers)
    parameters = [tensor for layer in layers for tensor in layer]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    group = 8  # mixtures per step
    steps = epochs * (len(train) // group)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: min(1.0, (k + 1) / 10) * (1 - k / steps))
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=random).tolist()
        for start in range(0, len(order) - group + 1, group):
            optimiser.zero_grad()
            for number in order[start : start + group]:
                item = train[number]
                distance, sdr = filter_risk(torch.sigmoid(gain.log_odds(item.own, item.em)), item.batch)
                ((DISTANCE_WEIGHT * distance + SDR_WEIGHT * sdr) / group).backward()
            nn.utils.clip_grad_norm_(parameters, 200.0)
            optimiser.step()
            schedule.step()
    return LearntGain([(weight.detach(), bias.detach()) for weight, bias in layers])


def main() -> None:
    """Learn the network and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--mixtures", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    enhancer = Enhancer.from_pretrained(device="cpu", inference__calibrate=False)
    items = filtered(enhancer, given.data, given.mixtures)
    held = given.mixtures // HELD_OUT
    train, test = items[held:], items[:held]
    gain = fit(train, given.epochs)
    risks = {
        "noisy encoder": risk(lambda item: item.own, test),
        "EM": risk(lambda item: item.em, test),
        "opinion pool": risk(lambda item: item.pooled, test),
        "learnt": risk(lambda item: torch.sigmoid(gain.log_odds(item.own, item.em)), test),
        "learnt, on the mixtures of the fit": risk(
            lambda item: torch.sigmoid(gain.log_odds(item.own, item.em)), train
        ),
    }
    layers = [{"weight": weight.tolist(), "bias": bias.tolist()} for weight, bias in gain.layers]
    result = {"mixtures": given.mixtures, "epochs": given.epochs, "distance_and_sdr": risks, "layers": layers}
    write_atomically(FITTED, (json.dumps(result) + "\n").encode())
    print(json.dumps(risks, indent=1))


if __name__ == "__main__":
    main()
