"""What every noise model declares: the analysis that it works on, and its capabilities."""

import dataclasses
import importlib
import sys

import pytest
import torch

from tests.toys import SIGNAL, tiny_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.deprecated import MODULES
from vae_se.errors import UsageError
from vae_se.inference.multistart import candidates
from vae_se.noise import NOISES, NoiseModel, NoiseState
from vae_se.noise.dictionary import Dictionary
from vae_se.noise.impulsive import Impulsive, half_widths
from vae_se.noise.multiplicative import product, tracked
from vae_se.noise.nmf import NMF
from vae_se.noise.store import NoiseDictionary
from vae_se.noise.tracking import mmse_tracker
from vae_se.rng import Streams
from vae_se.signal_spec import SignalSpec

FRAMES, BINS = 40, 33


def make(name, **settings):
    """A model of this name; the dictionary has two known atoms."""
    if name != "dictionary":
        return NOISES[name](**settings)
    atoms = NoiseDictionary(torch.ones(2, BINS), SIGNAL.rate, SIGNAL.window, SIGNAL.hop)
    return Dictionary(noise_segment="0-1", **settings).with_known(atoms)


@pytest.fixture
def power():
    return torch.rand(2, FRAMES, BINS, generator=torch.Generator().manual_seed(0)) + 1e-3


def start(model, power):
    return model.init(power, torch.ones(2, FRAMES), Streams.from_seed(0, ["a", "b"], [FRAMES] * 2))


@pytest.mark.parametrize("name", NOISES)
def test_a_model_is_frozen_data_and_takes_the_signal_of_the_prior(name, power):
    model = make(name)
    assert isinstance(model, NoiseModel)
    assert model.signal == SignalSpec()
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.signal = SIGNAL
    assert dataclasses.replace(model, signal=SIGNAL).signal == SIGNAL
    assert isinstance(start(model, power), NoiseState)


@pytest.mark.parametrize("name", [name for name in NOISES if name != "dictionary"])
def test_assemble_sets_the_signal_and_a_configuration_cannot(name):
    prior = tiny_prior()
    noise = build_em(Config().override({"noise.name": name}), prior).noise
    assert noise.signal == prior.signal != SignalSpec()
    with pytest.raises(UsageError, match=r"unknown setting 'noise\.signal'"):
        Config().override({"noise.signal": 1})


def test_an_error_about_a_setting_lists_settings_only():
    with pytest.raises(UsageError) as caught:
        build_em(Config().override({"noise.name": "stationary", "noise.rank": 3}), tiny_prior())
    assert caught.value.hint == "it has: init_scale, smoothness"


@pytest.mark.parametrize("name", NOISES)
def test_factors_are_those_of_the_scale(name, power):
    model = make(name)
    state = start(model, power)
    factors = model.factors(state)
    if name == "stationary":
        assert factors is None
        return
    w, h = factors
    # The impulse variables of heavy tails start at 1: there, too, the scale is the variance.
    torch.testing.assert_close(h @ w, model.variance(state))


@pytest.mark.parametrize("name", NOISES)
def test_known_spectra_belong_to_the_dictionary(name):
    atoms = NoiseDictionary(torch.ones(3, BINS), SIGNAL.rate, SIGNAL.window, SIGNAL.hop)
    model = make(name)
    if name == "dictionary":
        assert model.with_known(atoms).known is atoms
        assert model.known is not atoms
    else:
        with pytest.raises(UsageError, match="known beforehand"):
            model.with_known(atoms)


@pytest.mark.parametrize("name", NOISES)
def test_other_initialisations_are_the_tracked_spectrum(name, power):
    others = make(name).other_initialisations()
    if name == "stationary":
        assert others == []
        return
    (other,) = others
    assert other == make(name, init_spectrum="tracked")
    assert other.other_initialisations() == []
    start(other, power)  # the known atoms of a dictionary stay


def test_multistart_tries_the_other_initialisation():
    em = build_em(Config(), tiny_prior())
    assert [loop.noise.init_spectrum for loop in candidates(em, 3)] == ["quiet", "tracked", "quiet"]


@pytest.mark.parametrize("name", NOISES)
def test_models_with_alternatives_propose_states_of_their_own_kind(name, power):
    model = make(name)
    state = start(model, power)
    found = model.alternatives(state, power, torch.ones(2, FRAMES))
    assert bool(found) == model.has_alternatives == (model.margin > 0)
    choice = torch.zeros(2, FRAMES, dtype=torch.long)
    picked = model.pick([state, *found], choice)
    assert type(picked) is type(state)
    torch.testing.assert_close(model.variance(picked), model.variance(state))


def test_old_names_of_the_capabilities_warn(power):
    model = Impulsive(rank=2)
    state = start(model, power)
    with pytest.warns(FutureWarning, match="has_alternatives"):
        assert model.competes
    with pytest.warns(FutureWarning, match="alternatives"):
        assert len(model.rivals(state, power, torch.ones(2, FRAMES))) == 10
    with pytest.warns(FutureWarning, match="other_initialisations"):
        assert model.elsewhere() == model.other_initialisations()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vae_se.noise.heavy.HeavyTailed", "vae_se.noise.heavy_tailed.HeavyTailed"),
        ("vae_se.noise.penalties.Penalty", "vae_se.noise.activation_penalty.ActivationPenalty"),
        ("vae_se.noise.spectra.SpectrumPrior", "vae_se.noise.spectrum_prior.SpectrumPrior"),
        ("vae_se.noise.weights.Weights", "vae_se.noise.activation_penalty.PenaltyWeights"),
        ("vae_se.baselines.nmf.Dictionary", "vae_se.baselines.nmf.SpeechDictionary"),
        ("vae_se.benchmark.runner.Options", "vae_se.benchmark.runner.RunOptions"),
        ("vae_se.data.mixing.Recipe", "vae_se.data.mixing.MixingRecipe"),
    ],
)
def test_old_names_still_work_and_warn(old, new, monkeypatch):
    home, _, name = old.rpartition(".")
    if home.removeprefix("vae_se.") in MODULES:  # the import warns, too, and only once
        monkeypatch.delitem(sys.modules, home, raising=False)
    with pytest.warns(FutureWarning, match=rf"{old.split('.')[2]}.* is deprecated"):
        found = getattr(importlib.import_module(home), name)
    home, _, name = new.rpartition(".")
    assert found.__qualname__ == name


@pytest.mark.parametrize("hop", [128, 256, 512])
def test_the_tracker_has_the_hop_of_the_signal(power, hop):
    found = tracked(power[0], SignalSpec(hop=hop))
    expected = torch.from_numpy(mmse_tracker(power[0].double().numpy(), hop / 16000)).float()
    assert torch.equal(found, expected)
    model = NMF(rank=1, init_spectrum="tracked", init_scale=1.0, init_jitter=1e-6, signal=SignalSpec(hop=hop))
    mean = product(start(model, power))[0].mean(0)
    torch.testing.assert_close(mean, expected.mean(0), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        (SignalSpec(16000, 1024, 256), (6, 8)),
        (SignalSpec(48000, 3072, 768), (6, 8)),
        (SignalSpec(16000, 512, 128), (12, 4)),
        (SignalSpec(8000, 512, 128), (6, 8)),
    ],
)
def test_impulses_are_found_in_seconds_and_hertz(signal, expected):
    assert half_widths(signal) == expected
