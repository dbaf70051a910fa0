"""Results computed in blocks equal those of a single block, up to rounding."""

import pytest
import torch

from tests.toys import tiny_prior
from vae_se import blocks
from vae_se.inference.gain import Gain
from vae_se.inference.target import Target
from vae_se.noise import NOISES, NoiseModel
from vae_se.noise.multiplicative import NMFState, draw_weight, product, update_h, update_w
from vae_se.numerics import FIT_UPDATES
from vae_se.rng import Streams

BATCH, DRAWS, FRAMES, ATOMS = 2, 3, 11, 4
# Relative to the float64 result of a single block.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


def results(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All that is computed in blocks, from the same random numbers."""
    generator = torch.Generator().manual_seed(4)
    prior = tiny_prior()
    bins = prior.signal.stft.bins

    def random(*shape):
        return torch.rand(*shape, generator=generator).to(dtype) + 0.1

    state = NMFState(random(BATCH, ATOMS, bins), random(BATCH, FRAMES, ATOMS))
    log_variance = 4 * random(BATCH, DRAWS, FRAMES, bins) - 2
    mask = torch.ones(BATCH, FRAMES, dtype=dtype)
    target = Target(prior, random(BATCH, FRAMES, bins), product(state), random(BATCH, FRAMES), mask)
    log_weight = torch.log_softmax(random(BATCH, DRAWS, FRAMES), 1)
    speech, weight = target.speech_variance(log_variance), draw_weight(log_weight, mask)
    value, slope = target.log_likelihood_and_gradient(log_variance)
    likelihood = target.likelihood_at(log_variance)
    return {
        "value alone": target.log_likelihood(log_variance),
        "value": value,
        "slope": slope,
        "gain": Gain("frame", 5.0).update(target, log_variance, log_weight),
        "gain from the sums": Gain("frame", 5.0).update(
            target, log_variance, log_weight, (likelihood.filter_sum, likelihood.power_sum)
        ),
        "h": update_h(state, target.power, speech, weight),
        "w": update_w(state, target.power, speech, weight),
        "w of the last atoms": update_w(state, target.power, speech, weight, fixed=1),
    }


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("elements", [1, BATCH * DRAWS * 33 * 4])
def test_blocks_do_not_change_the_result(monkeypatch, dtype, elements):
    whole = results(torch.float64)
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", elements)
    for name, found in results(dtype).items():
        error = (found - whole[name]).abs().max() / whole[name].abs().max()
        assert error <= TOLERANCE[dtype], name


@pytest.mark.parametrize("elements", [1, 100, 2000, 10**9])
def test_blocks_cover_every_frame_once(monkeypatch, elements):
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", elements)
    frames = [n for part in blocks.frame_blocks(torch.empty(2, 3, 17, 5)) for n in range(17)[part]]
    assert frames == list(range(17))
    assert list(blocks.frame_blocks(torch.empty(2, 3, 0, 5))) == []


def test_other_devices_than_the_cpu_use_one_block():
    assert list(blocks.frame_blocks(torch.empty(8, 8, 1000, 513, device="meta"))) == [slice(0, 1000)]


def test_one_speech_variance_may_stand_for_all_frames():
    """This is how a dictionary is fitted to noise alone."""
    state = NMFState(torch.rand(1, 2, 5) + 0.1, torch.rand(1, 7, 2) + 0.1)
    power, weight = torch.rand(1, 7, 5) + 0.1, torch.ones(1, 1, 7, 1)
    for update in (update_h, update_w):
        broadcast = update(state, power, torch.zeros(1, 1, 1, 1), weight)
        assert torch.equal(broadcast, update(state, power, torch.zeros(1, 1, 7, 5), weight))


def test_the_sums_of_the_likelihood_give_the_gain():
    whole = results(torch.float64)
    torch.testing.assert_close(whole["gain from the sums"], whole["gain"])


def test_the_fit_to_a_variance_is_that_of_updates_without_speech():
    """Also where frames of a batch are padding; on the frames themselves, without means of them at first."""
    model, generator = NOISES["nmf"](rank=3), torch.Generator().manual_seed(5)
    variance = 0.1 + torch.rand(2, 12, 9, generator=generator, dtype=torch.float64)
    mask = torch.ones(2, 12, dtype=torch.float64)
    mask[1, 5:] = 0
    start = model.init(variance, mask, Streams.from_seed(0, ["a", "b"], [12, 5]))
    found = model._fitted(start, variance, FIT_UPDATES)
    expected = NoiseModel.start_at(model, start, variance, mask)
    torch.testing.assert_close(found.w, expected.w)
    torch.testing.assert_close(found.h, expected.h)
