"""Results do not depend on interruptions or on the number of threads."""

import io

import pytest
import torch

from tests.contract.test_inference_contract import loop, streams_for
from tests.toys import model_power, tiny_prior
from vae_se.inference import monte_carlo_em
from vae_se.inference.em import step
from vae_se.inference.estep import ESTEPS


def start_and_run(estep, power, iterations, **given):
    em = loop(estep, prior=tiny_prior(), **{"inference.iterations": iterations})
    return em.run(power, torch.ones(power.shape[:2]), **given)


@pytest.mark.parametrize("estep", list(ESTEPS))
def test_resuming_from_a_state_on_disk_equals_an_unbroken_run(estep):
    """The state of EM and of its streams goes through a file after an odd number of iterations."""
    power, lengths = model_power(tiny_prior(), 2, 8), [8, 8]
    whole = start_and_run(estep, power, 7, streams=streams_for(lengths))
    streams = streams_for(lengths)
    em = loop(estep, prior=tiny_prior(), **{"inference.iterations": 7})
    stopped = {}

    class Interrupted(Exception):
        pass

    def stop(state):
        stopped.update(state=state, streams=streams.state())
        raise Interrupted

    def watched(model, power, mask, state, streams):
        if state.iteration == 5:
            stop(state)
        return step(model, power, mask, state, streams)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monte_carlo_em, "step", watched)
        with pytest.raises(Interrupted):
            em.run(power, torch.ones(2, 8), streams)
    file = io.BytesIO()
    torch.save(stopped, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    fresh = streams_for(lengths, seed=99)
    fresh.restore(loaded["streams"])
    resumed = start_and_run(estep, power, 7, streams=fresh, state=loaded["state"])
    assert torch.equal(resumed.wiener, whole.wiener)
    assert torch.equal(resumed.noise, whole.noise)


@pytest.mark.parametrize("estep", list(ESTEPS))
def test_threads_change_nothing_beyond_rounding(estep):
    """In float64, where differences of rounding are far below the tolerance."""
    prior = tiny_prior(dtype=torch.float64)
    power = model_power(prior, 1, 200)
    found = {}
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            em = loop(estep, prior=prior)
            found[count] = em.run(power, torch.ones(1, 200, dtype=torch.float64), streams_for([200])).wiener
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(found[1], found[3], rtol=1e-7, atol=1e-9)
