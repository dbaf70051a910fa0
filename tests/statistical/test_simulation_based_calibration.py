"""Simulation-based calibration: exact kernels give uniform ranks, wrong ones do not."""

from __future__ import annotations

import csv
import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.conftest import ROOT

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


def test_vem_mh_draws_from_the_posterior(sbc, simulation):
    assert sbc.row_of("vem-mh", simulation).p > LOW


def test_a_kernel_that_leaves_out_the_density_of_its_proposal_fails(sbc, simulation):
    assert sbc.row_of(sbc.WRONG, simulation).p < 1e-6


def test_narrow_and_shifted_draws_fail(sbc):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(sbc.DRAWS, 4000, 1, generator=generator)
    truth = torch.randn(4000, 1, generator=generator)
    assert sbc.p_value((draws < truth).double().mean(0)) > LOW
    assert sbc.p_value((0.9 * draws < truth).double().mean(0)) < LOW
    assert sbc.p_value((draws + 0.2 < truth).double().mean(0)) < LOW


@pytest.mark.slow
@pytest.mark.parametrize("label", ["mh", "mala", "mala, preconditioned", "encoder-mh", "encoder-is"])
def test_every_exact_kernel_draws_from_the_posterior(sbc, simulation, label):
    assert sbc.row_of(label, simulation).p > LOW


def test_the_table_has_every_kernel_and_rejects_the_wrong_one_only(sbc):
    with (ROOT / "eval/results/sbc.csv").open() as file:
        rows = {row["kernel"]: row for row in csv.DictReader(file)}
    assert set(rows) == {*(row[0] for row in sbc.KERNELS), sbc.WRONG}
    assert {name for name, row in rows.items() if row["exact"] == "yes"} == set(sbc.EXACT)
    assert all(float(rows[name]["p"]) > LOW for name in sbc.EXACT)
    assert float(rows[sbc.WRONG]["p"]) < 1e-6
