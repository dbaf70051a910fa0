"""Simulation-based calibration: exact kernels give uniform ranks, wrong ones do not."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from vae_se.inference.estep import ESTEPS, chain, vem_mh

FRAMES = 500
LOW = 1e-3  # an exact kernel falls below it by chance once in a thousand; the seeds are fixed


@pytest.fixture(scope="module")
def sbc() -> ModuleType:
    """The script with the study over all kernels."""
    path = ROOT / "eval/scripts/simulation_based_calibration.py"
    spec = importlib.util.spec_from_file_location("simulation_based_calibration", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def simulation(sbc: ModuleType) -> Any:
    """Frames drawn from the model."""
    return sbc.simulate(FRAMES)


def p_of(sbc: ModuleType, simulation: Any, label: str) -> float:
    """The p-value of one of the script's kernels."""
    ((name, settings, steps),) = (row[1:] for row in sbc.KERNELS if row[0] == label)
    kernel = ESTEPS[name](**{"draws": sbc.DRAWS} | settings)
    return sbc.p_value(sbc.ranks(kernel, simulation, steps))


def test_the_preset_best_draws_from_the_posterior(sbc, simulation):
    assert p_of(sbc, simulation, "vem-mh") > LOW


def test_a_kernel_without_its_acceptance_step_fails(sbc, simulation, monkeypatch):
    def always(target, current, proposed, log_ratio, streams):
        return chain.accept(target, current, proposed, torch.full_like(log_ratio, 1e3), streams)

    monkeypatch.setattr(vem_mh, "accept", always)
    assert p_of(sbc, simulation, "vem-mh") < 1e-6


def test_draws_from_the_prior_and_narrow_draws_fail(sbc):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(sbc.DRAWS, 4000, 1, generator=generator)
    truth = torch.randn(4000, 1, generator=generator)
    assert sbc.p_value((draws < truth).double().mean(0)) > LOW
    assert sbc.p_value((0.9 * draws < truth).double().mean(0)) < LOW
    assert sbc.p_value((draws + 0.1 < truth).double().mean(0)) < LOW


@pytest.mark.slow
@pytest.mark.parametrize("label", ["mh", "mala", "mala, preconditioned", "encoder-mh", "encoder-is", "vem-is"])
def test_every_exact_kernel_draws_from_the_posterior(sbc, simulation, label):
    assert p_of(sbc, simulation, label) > LOW
