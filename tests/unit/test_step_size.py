"""The adapted step size of Markov chains."""

import pytest
import torch

from vae_se.inference.estep.step_size import StepSize


def start(**settings):
    return StepSize.start(torch.ones(2, 3), 0.5, **({"acceptance": 0.25, "adaptation": 2} | settings))


def test_it_rises_where_too_many_proposals_are_accepted_and_falls_where_too_few_are():
    accepted = torch.zeros(2, 4, 3, dtype=torch.bool)
    accepted[0, :, 0] = True
    accepted[1, 0, 1] = True
    value = start().adapted(accepted).value[:, 0, :, 0]
    assert value[0, 0] > 0.5 > value[0, 1]
    assert value[1, 1] == pytest.approx(0.5)


def test_the_change_shrinks_from_step_to_step_and_ends():
    every, size = torch.ones(2, 4, 3, dtype=torch.bool), start()
    changes = []
    for _ in range(3):
        adapted = size.adapted(every)
        changes.append((adapted.log_size - size.log_size)[0, 0].item())
        size = adapted.after_step()
    assert changes == [pytest.approx(0.75), pytest.approx(0.75 / 2**0.6), 0]
    assert not size.adapting


def test_the_size_has_an_upper_limit():
    every, size = torch.ones(2, 4, 3, dtype=torch.bool), start(adaptation=9, largest=1.0)
    for _ in range(5):
        size = size.adapted(every)
    assert torch.equal(size.value, torch.ones(2, 1, 3, 1))
