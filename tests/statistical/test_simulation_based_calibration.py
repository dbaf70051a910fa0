"""Simulation-based calibration: exact kernels give uniform ranks, wrong ones do not."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from vae_se.inference.estep import ESTEPS, vem_mh

FRAMES = 300
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


def test_vem_mh_draws_from_the_posterior(sbc, simulation):
    assert p_of(sbc, simulation, "vem-mh") > LOW


def test_a_kernel_that_leaves_out_the_density_of_its_proposal_fails(sbc, simulation, monkeypatch):
    monkeypatch.setattr(vem_mh, "_log_weight", lambda chains, epsilon: chains.log_joint)
    assert p_of(sbc, simulation, "vem-mh") < 1e-6


def test_narrow_and_shifted_draws_fail(sbc):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(sbc.DRAWS, 4000, 1, generator=generator)
    truth = torch.randn(4000, 1, generator=generator)
    assert sbc.p_value((draws < truth).double().mean(0)) > LOW
    assert sbc.p_value((0.9 * draws < truth).double().mean(0)) < LOW
    assert sbc.p_value((draws + 0.2 < truth).double().mean(0)) < LOW


@pytest.mark.slow
@pytest.mark.parametrize("label", ["mh", "mala", "mala, preconditioned", "encoder-mh", "encoder-is", "vem-is"])
def test_every_exact_kernel_draws_from_the_posterior(sbc, simulation, label):
    assert p_of(sbc, simulation, label) > LOW
