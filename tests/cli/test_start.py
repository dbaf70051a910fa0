"""Start-up: quick, and honest about what is missing."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import vae_se


def test_help_is_quick():
    """Under 0.3 s of processor time, which does not depend on what else the machine is doing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run([sys.executable, "-m", "vae_se", "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "enhance" in ran.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


@pytest.mark.parametrize(
    "code",
    [
        "import vae_se",
        "import vae_se.cli",
        "import vae_se.config",
        "import vae_se.audio.files, vae_se.audio.paths",
        "import vae_se.cli.enhance, vae_se.cli.prior, vae_se.cli.info",
    ],
)
def test_torch_is_not_imported_before_it_is_used(code):
    check = f"{code}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_version(cli):
    assert cli("--version").out.strip() == f"vae-se {vae_se.__version__}"


def test_an_unknown_command_names_the_nearest(cli):
    ran = cli("enhnace", "x.wav")
    assert ran.code == 2
    assert ran.err.splitlines() == ["error: unknown command 'enhnace'", "hint: did you mean enhance?"]


def test_a_command_that_is_missing_does_not_break_the_others(cli, monkeypatch):
    from vae_se.cli import COMMANDS

    monkeypatch.setitem(COMMANDS, "train", ("vae_se.cli.no_such_module:train", "Train."))
    assert "train" in cli("--help").out
    ran = cli("train")
    assert ran.code == 2
    assert "not part of this installation" in ran.err
    assert cli("info").code == 0


def test_every_command_has_help(cli):
    from vae_se.cli import COMMANDS

    for name in COMMANDS:
        ran = cli(name, "--help")
        assert ran.code == 0, (name, ran.err)
        assert "Usage: vae-se " + name in ran.out


def test_names_of_the_package_are_lazy():
    assert set(vae_se.__all__) <= set(dir(vae_se))
    with pytest.raises(AttributeError):
        vae_se.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("words", "expected"), [("vae-se enh", "enhance"), ("vae-se enhance --atten", "--atten-lim")]
)
def test_the_tab_key_completes(cli, monkeypatch, words, expected):
    monkeypatch.setenv("_VAE_SE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert cli().out.split() == [f"plain,{expected}"]
