"""The random level of training frames."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.toys import small_prior
from vae_se.training import prior_trainer
from vae_se.training.distributed import ALONE
from vae_se.training.prior_trainer import PriorTrainer
from vae_se.training.recipes import TrainOptions


def levels(monkeypatch, power, mask=None, **options):
    """Change of level in dB of every frame and bin that the objective sees, for training ``power``."""
    seen, elbo_terms = [], prior_trainer.elbo_terms

    def spied(model, power, *rest):
        seen.append(power)
        return elbo_terms(model, power, *rest)

    monkeypatch.setattr(prior_trainer, "elbo_terms", spied)
    monkeypatch.setattr(prior_trainer, "_tensors", lambda batch, device: (power, mask))
    trainer = SimpleNamespace(
        options=TrainOptions(**options), world=ALONE, seed=0, device=torch.device("cpu"), per_epoch=1,
        model=small_prior("ffvae", torch.float32).requires_grad_(True),
    )  # fmt: skip
    PriorTrainer.backward(trainer, None, 0)
    return 10 * torch.log10(seen[0] / power)


@pytest.mark.parametrize("jitter", [6.0, 2.0])
def test_frames_change_their_level_uniformly_by_up_to_so_many_decibels(monkeypatch, jitter):
    change = levels(monkeypatch, torch.rand(3000, 33) + 0.1, level_jitter_db=jitter)
    assert (change - change[:, :1]).abs().max() < 1e-3  # the same in all bins
    assert change.min().item() == pytest.approx(-jitter, rel=0.02)
    assert change.max().item() == pytest.approx(jitter, rel=0.02)
    assert change[:, 0].std().item() == pytest.approx(jitter / math.sqrt(3), rel=0.05)


def test_a_sequence_changes_as_a_whole(monkeypatch):
    change = levels(monkeypatch, torch.rand(20, 5, 33) + 0.1, torch.ones(20, 5), level_jitter_db=6.0)
    assert (change - change[:, :1, :1]).abs().max() < 1e-3
    assert change[:, 0, 0].std() > 1


def test_without_jitter_the_level_stays(monkeypatch):
    assert not levels(monkeypatch, torch.rand(8, 33) + 0.1, level_jitter_db=0.0).any()
