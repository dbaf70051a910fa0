"""Where quality is lost: the default, with parts of the truth given to it one after the other.

    python eval/scripts/oracle_noise.py ../shared/data > table.md

The data folder contains speech/valid and noise/; a number after it limits the mixtures, which are those of
the protocol ``start``. Only the first rows are methods; the others use the clean speech or the noise, and
show what knowing it would gain. The table is eval/results/oracle.md. Takes eight minutes on one core.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spectra import analysed

from vae_se import Enhancer
from vae_se.assemble import build_em
from vae_se.baselines import BASELINES
from vae_se.benchmark.protocol import find_protocol, load_protocol
from vae_se.data.mixture import Mixture
from vae_se.data.testsets import TESTSETS
from vae_se.inference.draws import Draws, frame_mean
from vae_se.inference.estep.base import EStepInfo
from vae_se.inference.monte_carlo_em import MonteCarloEM
from vae_se.inference.target import Target
from vae_se.metrics import score
from vae_se.noise import NoiseModel
from vae_se.noise.dictionary import fit
from vae_se.noise.multiplicative import NMFState, draw_weight, product, update_h
from vae_se.noise.nmf import NMF
from vae_se.numerics import POWER_FLOOR
from vae_se.rng import Streams, torch_stream

METRICS = ("si_sdr", "pesq_wb", "estoi")
#: Frames below this power (-40 dB of the active speech level) are pauses; without any, the ten quietest are
#: used.
PAUSE = 1e-4
FIT_ITERATIONS = 100


@dataclasses.dataclass(frozen=True)
class Known(NoiseModel[NMFState]):
    """Noise with known spectra ``w`` (K, F), and with known activations (N, K) where ``h`` is given.

    Unknown activations start at the level of the initial state of ``nmf``.
    """

    w: torch.Tensor
    h: torch.Tensor | None = None

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> NMFState:
        """The known spectra with constant activations, or the known activations."""
        if self.h is not None:
            return NMFState(self.w.unsqueeze(0), self.h.unsqueeze(0))
        level = NMF(1, init_spectrum="quiet", init_scale=2.0).init(power, mask, streams).h.mean(1, keepdim=True)
        h = (level / len(self.w)).expand(-1, power.shape[1], len(self.w))
        return NMFState(self.w.unsqueeze(0), h.clone())

    def variance(self, state: NMFState) -> torch.Tensor:
        """W H."""
        return product(state)

    def update(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> NMFState:
        """Update the activations, unless they are known."""
        if self.h is not None:
            return state
        return NMFState(state.w, update_h(state, power, speech_variance, draw_weight(log_weight, mask)))


@dataclasses.dataclass(frozen=True)
class KnownLatents:
    """An E-step that draws from the encoder's posterior of the clean speech, power ``clean`` (1, N, F)."""

    clean: torch.Tensor
    draws: int = 2

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> Any:
        """Draws that do not depend on the parameters."""
        z, _ = target.prior.encode(self.clean).rsample(self.draws, streams)
        return _Drawn(Draws.equal(z, target.prior.decode(z)))

    def step(self, target: Target, state: Any, streams: Streams) -> tuple[Any, EStepInfo]:
        """Fresh draws."""
        new = self.init(target, target.power, streams)
        value = target.log_likelihood(new.draws.log_variance).mean(1)
        return new, EStepInfo(objective=frame_mean(value, target.mask), ess=torch.ones(1))


@dataclasses.dataclass(frozen=True)
class _Drawn:
    draws: Draws


@dataclasses.dataclass(frozen=True)
class Spectra:
    """Complex spectrogram of the mixture (1, N, F), power of its parts (N, F), all at the model's level."""

    noisy: torch.Tensor
    clean: torch.Tensor
    noise: torch.Tensor
    scale: float

    @functools.cached_property
    def truth(self) -> NMFState:
        """W and H of rank 8, fitted to the noise alone."""
        return factorise(self.noise, 8)


def analyse(mixture: Mixture, signal: Any) -> Spectra:
    """The spectra of a mixture, scaled by its level as in the enhancer."""
    assert mixture.noise is not None
    scale, (noisy, *parts) = analysed(signal, mixture.rate, mixture.noisy, mixture.clean, mixture.noise)
    clean, noise = (part.abs().square() + POWER_FLOOR for part in parts)
    return Spectra(noisy.unsqueeze(0), clean, noise, scale)


def factorise(power: torch.Tensor, rank: int) -> NMFState:
    """W and H (each a batch of one) of power (N, F): spectra as ``vae-se noise fit`` learns them."""
    atoms, _ = fit(power, rank, FIT_ITERATIONS)
    one = torch.zeros(1, 1, len(power))
    state = NMFState(atoms[None], (power.mean(-1, keepdim=True) / rank).expand(-1, rank)[None])
    speech = power.new_zeros(1, 1, 1, 1)
    for _ in range(FIT_ITERATIONS):
        state = NMFState(state.w, update_h(state, power[None], speech, draw_weight(one, one[:, 0] + 1)))
    return state


def ladder(enhancer: Enhancer) -> Iterator[tuple[str, Callable[[Spectra], MonteCarloEM]]]:
    """Labels, and for each a function from the spectra to an EM loop."""
    prior = enhancer.prior
    # Without the noisy encoder, so that the known parts are the only difference.
    config = enhancer.config.override({"inference.noisy_encoder": None})
    default = build_em(config, prior)

    def settings(**values: Any) -> Callable[[Spectra], MonteCarloEM]:
        changed = config.override({f"noise.{key}": value for key, value in values.items()})
        return lambda _: build_em(changed, prior)

    def noise(make: Callable[[Spectra], Known]) -> Callable[[Spectra], MonteCarloEM]:
        return lambda spectra: dataclasses.replace(default, noise=make(spectra))

    def mean(spectra: Spectra) -> Known:
        shape = spectra.noise.mean(0, keepdim=True)
        return Known(shape / shape.mean())

    def pauses(spectra: Spectra) -> Known:
        loudness = spectra.clean.mean(-1)
        # At least ten frames per atom, to avoid overfitting.
        count = max(10, int((loudness < PAUSE).sum()))
        power = spectra.noisy[0].abs().square()[loudness.argsort()[:count]] + POWER_FLOOR
        return Known(factorise(power, min(4, count // 10)).w[0])

    def both(spectra: Spectra) -> Known:
        return Known(spectra.truth.w[0], spectra.truth.h[0])

    def latents(em: MonteCarloEM, spectra: Spectra) -> MonteCarloEM:
        return dataclasses.replace(em, estep=KnownLatents(spectra.clean.unsqueeze(0)))

    yield "nothing: random W and H, rank 2", settings(rank=2, init_spectrum="mean", init_scale=1.0)
    yield "nothing: random W and H, rank 8", settings(init_spectrum="mean", init_scale=1.0)
    yield "nothing: start at the quiet spectrum", lambda _: default
    yield "nothing: start from the noisy encoder (`default`)", lambda _: build_em(enhancer.config, prior)
    yield "W of the true pauses (rank 1 to 4), H free", noise(pauses)
    yield "the noise's true mean spectrum, level free per frame", noise(mean)
    yield "the true W (rank 8), H free", noise(lambda s: Known(s.truth.w[0]))
    yield "the true W and H (rank 8)", noise(both)
    yield "z of the clean speech, W and H fitted", lambda s: latents(default, s)
    yield "z of the clean speech, the true W and H", lambda s: latents(noise(both)(s), s)


def separate(em: MonteCarloEM, spectra: Spectra, mixture: Mixture, signal: Any) -> np.ndarray:
    """The speech (T,) that ``em`` estimates."""
    power = spectra.noisy.abs().square()
    frames = power.shape[1]
    streams = Streams([torch_stream(0, mixture.id)], [frames])
    mask = em.run(power, torch.ones(1, frames), streams).wiener
    return signal.stft.synthesise((spectra.noisy * mask)[0], mixture.noisy.size).numpy() * spectra.scale


def main(data: Path, count: int | None = None) -> None:
    """Print a table in Markdown."""
    enhancer = Enhancer.from_pretrained(device="cpu")
    signal = enhancer.prior.signal
    protocol = load_protocol(find_protocol("start"))
    testset = TESTSETS[protocol.data_set].open(protocol.data, data)
    found: dict[str, list[list[float]]] = {}
    for entry in testset.entries[:count]:
        mixture = entry.load()
        spectra = analyse(mixture, signal)
        results = {"noisy": mixture.noisy}
        for label, make in ladder(enhancer):
            results[label] = separate(make(spectra), spectra, mixture, signal)
        for name in ("log-mmse", "rnnoise"):
            results[f"for comparison: {name}"] = BASELINES[name].enhance(mixture.noisy, mixture.rate)
        results["for comparison: oracle Wiener filter"] = BASELINES["oracle-wiener"].enhance(
            mixture.noisy, mixture.rate, clean=mixture.clean
        )
        for label, speech in results.items():
            values = score(METRICS, mixture.clean, speech, mixture.rate)
            found.setdefault(label, []).append([values[name].value for name in METRICS])
        print(f"{mixture.id} done", file=sys.stderr, flush=True)
    print(
        f"| what is known ({len(found['noisy'])} mixtures) | SI-SDR | PESQ-wb | ESTOI |\n|---|---:|---:|---:|"
    )
    for label, rows in found.items():
        si_sdr, pesq, estoi = np.nanmean(np.array(rows), axis=0)
        print(f"| {label} | {si_sdr:.2f} | {pesq:.2f} | {estoi:.3f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
