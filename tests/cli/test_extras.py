"""Optional packages that are missing are reported before work begins."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile

from vae_se.enhancement.enhancer import Enhancer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def without(monkeypatch):
    """``without("matplotlib")`` makes a package look as if it were not installed."""
    return lambda *names: [monkeypatch.setitem(sys.modules, name, None) for name in names]


def test_a_picture_needs_matplotlib_before_anything_is_enhanced(cli, wav, make_noisy, tmp_path, without):
    without("matplotlib")
    path = wav("x.wav", make_noisy(0.3))
    ran = cli("enhance", path, "--plot", tmp_path / "x.png")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "error: --plot needs matplotlib, which is not installed",
        "hint: pip install 'vae-se[plot]'",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["x.wav"]
    for arguments in (
        ("report", tmp_path, "--plots", tmp_path / "plots"),
        ("prior", "plot", "--data", tmp_path, "-o", tmp_path / "y.png"),
        ("prior", "morph", path, path, "-o", tmp_path / "m.wav", "--plot", tmp_path / "y.png"),
    ):
        ran = cli(*arguments)
        assert ran.code == 2
        assert "needs matplotlib, which is not installed" in ran.err
        assert ran.out == ""


def test_training_says_at_the_start_what_will_be_missing(cli, make_speech, tmp_path, without):
    without("matplotlib", "pesq", "pystoi", "tensorboard")
    for speaker in range(2):
        (tmp_path / f"speech/s{speaker}").mkdir(parents=True)
        soundfile.write(tmp_path / f"speech/s{speaker}/a.wav", make_speech(2.0, 8000, speaker), 8000)
    small = ["--set", "rate=8000", "--set", "window=256", "--set", "hop=64", "--set", "hidden=[8]"]
    train = ["train", tmp_path / "speech", "--out", tmp_path / "p", "--cache", tmp_path / "c", "--threads", "1"]
    train += [*small, "--set", "latent_dim=2", "--set", "epochs=1", "--score-files", "1"]
    ran = cli(*train, "--tensorboard")
    assert ran.code == 2
    assert "--tensorboard needs tensorboard" in ran.err
    assert not (tmp_path / "c").exists()
    ran = cli(*train)
    assert ran.code == 0, ran.err
    start = ran.err[: ran.err.index("epoch 1/1")]
    for words in (
        "no curves.svg: matplotlib is",
        "no pesq_wb in the card: pesq is",
        "no estoi in the card: pystoi",
    ):
        assert ran.err.count(words) == start.count(words) == 1


def test_a_benchmark_says_at_the_start_which_extra_is_missing(cli, wav, make_noisy, tmp_path, without):
    without("pesq", "pystoi", "noisereduce")
    for folder in ("clean", "noisy"):
        wav(f"{folder}/a.wav", make_noisy(0.3))
    protocol = tmp_path / "p.toml"
    protocol.write_text(
        '[data]\nset = "pairs"\nroot = "."\n[methods.noisy]\n[methods.noisereduce]\n'
        '[metrics]\nnames = ["pesq_wb", "estoi", "si_sdr"]\n'
    )
    ran = cli("benchmark", protocol, "--data-root", tmp_path, "--out", tmp_path / "out")
    assert ran.err.splitlines()[:2] == [
        "warning: no value will be computed for pesq_wb, estoi: pesq and pystoi not installed, "
        "pip install 'vae-se[metrics]'",
        "warning: noisereduce will fail: not installed, pip install 'vae-se[baselines]'",
    ]


def test_a_baseline_looks_for_its_package_when_it_is_made(without):
    without("noisereduce")
    with pytest.raises(ImportError, match="noisereduce needs noisereduce"):
        Enhancer.from_pretrained(method="noisereduce")


def test_the_slim_installation_lists_what_enhancement_needs():
    text = (ROOT / "docs" / "command-line.md").read_text()
    line = next(
        line for line in text.splitlines() if line.startswith("    pip install -c constraints.txt torch")
    )
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[>=;]", dependency)[0] for dependency in dependencies}
    assert set(line.split()[4:]) == names - {"pesq", "pystoi", "librosa"}
