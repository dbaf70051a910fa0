"""How fast chains of whole trajectories move: the autocorrelation of the exact kernels on a prior with memory.

    python eval/scripts/trajectory_mixing.py NOISY.wav [--prior latent-rnn]

EM runs on the first seconds of a recording until the proposals have adapted; then the parameters stay fixed and
each kernel makes STEPS further E-steps. The table has the acceptance of trajectories, the step, the
autocorrelation of the latents after 1, 4 and 16 E-steps (mean over frames and latents), the share of the
latents' variance that lies within chains (1 where all chains visit the same places), and the CPU seconds of an
E-step per second of sound, on one thread.
"""

from __future__ import annotations

import argparse
import time

import soundfile
import torch

from vae_se.audio.level import active_rms
from vae_se.enhancement.channel import level_scale, power_of
from vae_se.enhancement.enhancer import Enhancer
from vae_se.inference.em import step
from vae_se.rng import Streams

SECONDS, STEPS, LAGS = 3, 60, (1, 4, 16)
#: Settings by kernel; EM makes 40 iterations, in which all have adapted.
KERNELS = {
    "mh": {},
    "mala": {"estep__precondition": True},
    "vem-mh": {"estep__warmup": 10, "estep__adaptation": 30},
    "vem-mh, 8 steps": {"estep__warmup": 10, "estep__adaptation": 30, "estep__sweeps": 8},
}


@torch.no_grad()
def row(name: str, wave: torch.Tensor, enhancer: Enhancer) -> str:
    """A line of the table."""
    em, spectrum = enhancer.em, enhancer.signal.stft.transform(wave)
    scale = level_scale(active_rms(wave.numpy(), enhancer.signal.rate), enhancer.signal)
    power = power_of(spectrum / scale).unsqueeze(0)
    mask, streams = torch.ones(power.shape[:2]), Streams.from_seed(0, [name], [power.shape[1]])
    state = em.start(power, mask, streams)
    for _ in range(40):
        state, _ = step(em, power, mask, state, streams)
    target, estep = em.target(power, mask, state), em.estep.frozen(state.estep)
    places, accepted, started = [], [], time.process_time()
    for _ in range(STEPS):
        estep, info = em.estep.step(target, estep, streams)
        places.append(estep.draws.z[0])
        accepted.append(float(info.acceptance))
    seconds = (time.process_time() - started) / STEPS / (len(wave) / enhancer.signal.rate)
    z = torch.stack(places)  # (steps, R, N, L)
    centred = z - z.mean((0, 1))
    variance = centred.square().mean((0, 1))
    found = [float(((centred[lag:] * centred[:-lag]).mean((0, 1)) / variance).mean()) for lag in LAGS]
    within = float((z.var(0, correction=0).mean(0) / variance).mean())
    size = float(estep.size.value.mean())
    cells = [f"{sum(accepted) / STEPS:.2f}", f"{size:.3f}", *(f"{rho:.2f}" for rho in found)]
    return f"| {name} | " + " | ".join([*cells, f"{within:.2f}", f"{seconds:.3f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("noisy")
    parser.add_argument("--prior", default="latent-rnn")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| | acceptance | step | lag 1 | lag 4 | lag 16 | within chains | s per s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, settings in KERNELS.items():
        enhancer = Enhancer.from_pretrained(given.prior, estep__name=name.split(",")[0], **settings)
        samples, rate = soundfile.read(given.noisy, dtype="float32", frames=SECONDS * enhancer.signal.rate)
        assert rate == enhancer.signal.rate, f"the recording must have {enhancer.signal.rate} Hz"
        print(row(name, torch.from_numpy(samples), enhancer), flush=True)


if __name__ == "__main__":
    main()
