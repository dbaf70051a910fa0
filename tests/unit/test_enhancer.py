"""The facade: what goes in comes out, at the same type, shape, rate, level and length."""

import dataclasses
import gc
import importlib
import sys
import warnings

import numpy as np
import pytest
import torch

import vae_se
from tests.conftest import noisy_like, speech_like
from vae_se.enhancement.enhancer import Enhancer
from vae_se.errors import AudioError, PriorError, UsageError
from vae_se.inference.monte_carlo_em import MonteCarloEM

# Without a floor under the noise the output is the filter's alone.
QUICK = {"inference__iterations": 8, "inference__averaging": 2, "device": "cpu", "output__floor_db": np.inf}


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer.from_pretrained("default", **QUICK)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("samples", [1, 2, 700, 16001])
def test_any_rate_and_length(enhancer, rate, samples):
    x = noisy_like(2.0, rate)[:samples]
    y = enhancer.enhance(x, rate)
    assert y.shape == x.shape
    assert np.isfinite(y).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, torch.float32, torch.float64])
def test_type_and_shape_are_kept_and_the_argument_is_not_changed(enhancer, dtype):
    x = np.stack([noisy_like(0.5), noisy_like(0.5, seed=2)])
    x = torch.from_numpy(x).to(dtype) if isinstance(dtype, torch.dtype) else x.astype(dtype)
    before = x.clone() if isinstance(x, torch.Tensor) else x.copy()
    y = enhancer.enhance(x, 16000)
    assert type(y) is type(x)
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    assert (before == x).all()


@pytest.mark.parametrize("scale", [1e-6, 1e-4, 1e4])
def test_level_passes_through(enhancer, scale):
    x = noisy_like(1.0)
    y, scaled = enhancer.enhance(x, 16000), enhancer.enhance(x * scale, 16000)
    np.testing.assert_allclose(scaled / scale, y, atol=2e-3 * np.abs(y).max())


def test_channels_are_enhanced_each(enhancer):
    x = noisy_like(1.0)
    y = enhancer.enhance(np.stack([x, np.zeros_like(x), 0.1 * x]), 16000)
    alone = enhancer.enhance(x, 16000)
    # Channels of like content keep their image: the same random numbers for each.
    np.testing.assert_allclose(y[0], alone, atol=1e-4 * np.abs(alone).max())
    np.testing.assert_allclose(10 * y[2], alone, atol=2e-3 * np.abs(alone).max())
    assert (y[1] == 0).all()


def test_silence_comes_out_silent_and_says_so(enhancer):
    y, info = enhancer.enhance(np.zeros(5000), 16000, return_info=True)
    assert (y == 0).all()
    assert "silent" in info.warnings[0]


def test_a_second_of_digital_silence_leaves_the_rest_enhanced(enhancer):
    speech, noisy = speech_like(4.0), noisy_like(4.0)
    noisy[16000:32000] = 0
    speech[16000:32000] = 0
    y = enhancer.enhance(noisy, 16000)
    assert np.isfinite(y).all()
    assert np.sqrt(np.mean(y[17000:31000] ** 2)) < 1e-4 * np.sqrt(np.mean(y**2))
    for part in (slice(0, 15000), slice(33000, None)):
        assert np.mean(y[part] ** 2) > 0.2 * np.mean(speech[part] ** 2)


def test_second_file_meets_the_same_model(enhancer):
    x = noisy_like(1.0)
    first = enhancer.enhance(x, 16000)
    enhancer.enhance(noisy_like(1.5, seed=9), 16000)
    assert np.array_equal(enhancer.enhance(x, 16000), first)


def test_batch_is_one_by_one(enhancer):
    items = [noisy_like(s, seed=i) for i, s in enumerate((0.3, 1.1, 0.7))]
    names = ["a", "b", "c"]
    together = enhancer.enhance_batch(items, 16000, names=names)
    for x, name, y in zip(items, names, together, strict=True):
        alone = enhancer.enhance(x, 16000, name=name)
        np.testing.assert_allclose(y, alone, atol=2e-3 * np.abs(alone).max())
    assert enhancer.enhance_batch([], 16000) == []


def test_seed_decides():
    x = noisy_like(0.5)
    results = [Enhancer.from_pretrained(seed=s, **QUICK).enhance(x, 16000) for s in (0, 0, 1)]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_info_tells(enhancer):
    x = noisy_like(1.0, 8000)
    y, info = enhancer.enhance(x, 8000, return_info=True)
    np.testing.assert_allclose(y + info.noise, x, atol=1e-12)
    assert info.iterations == len(info.objective) == 8
    assert info.uncertainty[0].shape == info.channels[0].wiener.shape
    assert info.uncertainty[0].shape[1] == 513
    assert info.gain[0].shape == (info.uncertainty[0].shape[0],)
    assert (info.uncertainty[0] >= 0).all()
    loud = enhancer.enhance(100 * x, 8000, return_info=True)[1]
    ratio = (loud.uncertainty[0].sum() / info.uncertainty[0].sum()).item()
    assert ratio == pytest.approx(100, rel=1e-2)


def test_old_names_warn(enhancer):
    _, info = enhancer.enhance(noisy_like(0.3), 16000, return_info=True)
    with pytest.warns(FutureWarning, match=r"use ChannelInfo\.wiener"):
        assert info.channels[0].mask is info.channels[0].wiener
    for module, home, old, new in (
        ("separation", "segmented_em", "Separator", "SegmentedEM"),
        ("separation", "segmented_em", "Progress", "ProgressCallback"),
        ("channel", "results", "ChannelInfo", "ChannelInfo"),
        ("residue", "residual_noise", "part_left", "residual_gain"),
        ("streaming.window", "sliding_window", "Frames", "WindowFrames"),
    ):
        sys.modules.pop(f"vae_se.{module}", None)
        with pytest.warns(FutureWarning, match=r"use vae_se\.enhancement\."):
            alias = importlib.import_module(f"vae_se.{module}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            found = getattr(alias, old)
        assert found is getattr(importlib.import_module(f"vae_se.enhancement.{home}"), new)


def test_a_baseline_has_no_loop_and_no_signal():
    baseline = Enhancer.from_pretrained(method="log-mmse")
    for name in ("em", "signal", "segmented_em"):
        with pytest.raises(UsageError, match="log-mmse has no EM loop"):
            getattr(baseline, name)


def test_long_recordings_are_cut_without_a_seam():
    x = noisy_like(8.0)
    whole = Enhancer.from_pretrained(**QUICK).enhance(x, 16000)
    calls = []
    parts = Enhancer.from_pretrained(inference__segment=3.0, inference__overlap=0.5, **QUICK)
    y = parts.enhance(x, 16000, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] == len(calls)
    assert np.corrcoef(whole, y)[0, 1] > 0.95
    # No click: the largest step between samples is not larger than that of the recording.
    assert np.abs(np.diff(y)).max() <= 1.2 * np.abs(np.diff(x)).max()


@pytest.mark.parametrize("segment", [0.7, 3.0, 30.0])
def test_joins_are_exact(monkeypatch, segment):
    """Where every segment is filtered alike, cutting leaves no trace at all."""
    settings = QUICK | {"inference__iterations": 0, "inference__averaging": 1}
    enhancer = Enhancer.from_pretrained(inference__segment=segment, inference__overlap=0.2, **settings)
    run = MonteCarloEM.run

    def halved(self, power, *given, **named):
        return dataclasses.replace(run(self, power, *given, **named), wiener=torch.full_like(power, 0.5))

    monkeypatch.setattr(MonteCarloEM, "run", halved)
    x = noisy_like(5.0)
    y, info = enhancer.enhance(x, 16000, return_info=True)
    assert np.abs(y - 0.5 * x).max() < 1e-6 * np.abs(x).max()
    torch.testing.assert_close(info.channels[0].wiener, torch.full_like(info.channels[0].wiener, 0.5))


def test_posteriors_are_for_those_who_ask(enhancer):
    x = noisy_like(0.5)
    with_them, without = (enhancer.enhance(x, 16000, return_info=True, posterior=p) for p in (True, False))
    assert np.array_equal(with_them[0], without[0])
    assert without[1].channels == without[1].uncertainty == without[1].gain == []
    assert with_them[1].objective == without[1].objective


def test_dry_and_attenuation_limit():
    x = noisy_like(1.0)
    wet = Enhancer.from_pretrained(**QUICK).enhance(x, 16000)
    assert np.allclose(Enhancer.from_pretrained(output__dry=1.0, **QUICK).enhance(x, 16000), x)
    half = Enhancer.from_pretrained(output__dry=0.5, **QUICK).enhance(x, 16000)
    np.testing.assert_allclose(half, 0.5 * (wet + x), atol=1e-9)
    limited = Enhancer.from_pretrained(output__atten_lim_db=0.0, **QUICK).enhance(x, 16000)
    np.testing.assert_allclose(limited, x, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite(enhancer, bad):
    x = noisy_like(0.2)
    x[5] = bad
    with pytest.raises(AudioError, match=r"1 of 3200 samples"):
        enhancer.enhance(x, 16000)


def test_wrong_arguments(enhancer):
    with pytest.raises(AudioError, match="no samples"):
        enhancer.enhance(np.zeros(0), 16000)
    with pytest.raises(UsageError, match="int64"):
        enhancer.enhance(np.zeros(10, dtype=np.int64), 16000)
    with pytest.raises(UsageError, match="shape"):
        enhancer.enhance(np.zeros((1, 2, 3)), 16000)
    with pytest.raises(UsageError, match="rate"):
        enhancer.enhance(np.zeros(10), 0)
    with pytest.raises(PriorError, match="unknown prior"):
        Enhancer.from_pretrained("defualt")
    with pytest.raises(UsageError, match="unknown setting"):
        Enhancer.from_pretrained(estep__nam="mh")
    with pytest.raises(UsageError, match="no setting"):
        Enhancer.from_pretrained(estep__sweeps=3)
    with pytest.raises(UsageError, match="unknown device"):
        Enhancer.from_pretrained(device="gpu!")
    with pytest.raises(UsageError, match="overlap"):
        Enhancer.from_pretrained(inference__overlap=20.0).enhance(noisy_like(0.1), 16000)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="CUDA"):
            Enhancer.from_pretrained(device="cuda")


def test_unknown_method_names_its_neighbours():
    with pytest.raises(UsageError, match="unknown method 'mcme'") as caught:
        Enhancer.from_pretrained(method="mcme")
    assert "mcem" in caught.value.hint


def test_oracles_are_for_benchmarks_only():
    with pytest.raises(UsageError, match="clean speech"):
        Enhancer.from_pretrained(method="oracle-wiener")


def test_baseline_by_name():
    x = noisy_like(1.0)
    y, info = Enhancer.from_pretrained(method="log-mmse").enhance(x, 16000, return_info=True)
    assert y.shape == x.shape
    assert info.iterations == 0
    limited = Enhancer.from_pretrained(method="log-mmse", output__atten_lim_db=20.0).enhance(x, 16000)
    np.testing.assert_allclose(limited, y + 0.1 * info.noise, atol=1e-9)


def test_shortcut(enhancer):
    assert vae_se.enhance(noisy_like(0.2), 16000, inference__iterations=2).shape == (3200,)


@pytest.mark.parametrize("shape", [(8000, 2), (2, 1), (65, 100)])
def test_mistaken_axes_are_refused(enhancer, shape):
    x = np.zeros(shape)
    with pytest.raises(UsageError, match="transpose"):
        enhancer.enhance(x, 16000)
    with pytest.raises(UsageError, match="transpose"):
        enhancer.enhance_batch([np.zeros(100), x], 16000)
    with pytest.raises(UsageError, match="transpose"):
        vae_se.enhance(torch.from_numpy(x), 16000, method="log-mmse")


def test_a_file_knows_its_axes(enhancer, wav, tmp_path):
    source = wav("short.wav", np.full((2, 1), 0.1))
    enhancer.enhance_file(source, tmp_path / "out.wav")
    assert (tmp_path / "out.wav").exists()


def test_inference_mode_and_double_precision_change_nothing(enhancer):
    x = noisy_like(0.4).astype(np.float32)
    expected = enhancer.enhance(x, 16000)
    with torch.inference_mode():
        inside = torch.from_numpy(x) * 1
        assert np.array_equal(enhancer.enhance(inside, 16000).numpy(), expected)
        assert np.array_equal(Enhancer.from_pretrained(**QUICK).enhance(x, 16000), expected)
        made = Enhancer(enhancer.config, enhancer.prior, enhancer.device)
    assert np.array_equal(made.enhance(x, 16000), expected)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(enhancer.enhance(x, 16000), expected)
        assert np.array_equal(Enhancer.from_pretrained(**QUICK).enhance(x, 16000), expected)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_rate_may_be_spelt_as_a_float_or_a_word(enhancer):
    x = noisy_like(0.3)
    expected = enhancer.enhance(x, 16000)
    for rate in (16000.0, "16000", np.int64(16000), torch.tensor(16000)):
        assert np.array_equal(enhancer.enhance(x, rate), expected)
    for rate in ("fast", 16000.5, None, float("nan"), 0, [16000]):
        with pytest.raises(UsageError, match="a rate of"):
            enhancer.enhance(x, rate)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_integers_have_their_own_full_scale(enhancer, dtype, kind):
    x = np.stack([noisy_like(0.4), noisy_like(0.4, seed=1)])
    full, silence = {np.int16: (2**15, 0), np.int32: (2**31, 0), np.uint8: (2**7, 2**7)}[dtype]
    whole = np.rint(x * full + silence).astype(dtype)
    noisy = torch.from_numpy(whole) if kind == "tensor" else whole
    y, info = enhancer.enhance(noisy, 16000, return_info=True)
    assert type(y) is type(noisy)
    assert y.dtype == noisy.dtype == info.noise.dtype
    assert y.shape == noisy.shape
    exact = enhancer.enhance((whole - float(silence)) / full, 16000)
    np.testing.assert_allclose((np.asarray(y) - float(silence)) / full, exact, atol=0.51 / full + 1e-6)


def test_integers_saturate():
    from vae_se.enhancement.arrays import like

    loud = np.array([[1.5, -1.5, 0.0, 1.0]])
    assert like(np.zeros((1, 4), np.int16), loud).tolist() == [[32767, -32768, 0, 32767]]
    assert like(torch.zeros(4, dtype=torch.int32), loud).tolist() == [2**31 - 1, -(2**31), 0, 2**31 - 1]
    assert like(np.zeros(4, np.uint8), loud).tolist() == [255, 0, 128, 255]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, np.float16])
def test_half_precision_is_taken(enhancer, dtype):
    x = noisy_like(0.3)
    x = torch.from_numpy(x).to(dtype) if isinstance(dtype, torch.dtype) else x.astype(dtype)
    y = enhancer.enhance(x, 16000)
    assert type(y) is type(x)
    assert y.dtype == x.dtype
    single = torch.as_tensor(x).float()
    np.testing.assert_allclose(torch.as_tensor(y).float(), enhancer.enhance(single, 16000), atol=2e-3)


def test_lists_are_taken(enhancer):
    x = noisy_like(0.3)
    y = enhancer.enhance(x.tolist(), 16000)
    assert isinstance(y, list)
    assert np.array_equal(y, enhancer.enhance(x, 16000))
    with pytest.raises(UsageError, match="different lengths"):
        enhancer.enhance([[0.0, 1.0], [0.0]], 16000)


def test_an_error_says_what_to_do(enhancer):
    with pytest.raises(UsageError) as caught:
        enhancer.enhance(np.zeros(100, np.int64), 16000)
    assert str(caught.value) == f"{caught.value.message} ({caught.value.hint})"
    assert "int16" in str(caught.value)


def test_results_print_in_a_line(enhancer):
    _, info = enhancer.enhance(np.stack([noisy_like(0.4)] * 2), 16000, return_info=True)
    channel = info.channels[0]
    for value in (info, channel, channel.factors[0], enhancer, Enhancer.from_pretrained(method="log-mmse")):
        assert len(repr(value)) < 200
        assert "\n" not in repr(value)
        assert "0x" not in repr(value)
    assert "2 posteriors, 8 iterations" in repr(info)
    assert "513 bins" in repr(channel)
    assert repr(enhancer) == "<Enhancer: mcem, prior default, E-step vem, noise nmf, cpu>"


def test_no_file_is_left_open(tmp_path, wav, enhancer):
    from vae_se.enhancement.long_file import enhance_long

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vae_se.enhance(noisy_like(0.3), 16000, preset="fast")
        source = wav("x.wav", noisy_like(0.5))
        enhance_long(enhancer.segmented_em, enhancer.config.output, source, tmp_path / "y.wav")
        gc.collect()
    assert [str(w.message) for w in caught if issubclass(w.category, ResourceWarning)] == []


def test_noise_is_input_minus_the_estimate_without_the_floor(enhancer):
    """With a floor, a part of Info.noise is in the output."""
    x = noisy_like(1.0)
    floor = Enhancer.from_pretrained(**QUICK | {"output__floor_db": 20.0})
    y, info = floor.enhance(x, 16000, return_info=True)
    speech = enhancer.enhance(x, 16000)
    np.testing.assert_allclose(info.noise, x - speech, atol=1e-6)
    assert np.abs(x - y - info.noise).max() > 1e-3
