"""Settings."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import pytest

from vae_se import config, config_values
from vae_se.config import Config
from vae_se.errors import UsageError


def test_toml_round_trip(tmp_path):
    for preset in config.PRESETS:
        settings = Config.preset(preset).set("seed=7", "output.dry=0.25")
        path = tmp_path / "c.toml"
        path.write_text(settings.to_toml())
        assert Config.from_toml(path) == settings


def test_every_key_can_be_set_to_what_it_is():
    settings = Config()
    flat = settings.flat()
    assert set(flat) == set(config.keys())
    assert settings.override(flat) == settings


def test_values_are_toml_or_bare_words():
    settings = Config().set(
        "inference.iterations=7", "noise.name=nmf", 'prior="a b"', "output.atten_lim_db=inf"
    )
    assert (settings.inference.iterations, settings.noise.name, settings.prior) == (7, "nmf", "a b")
    assert settings.output.atten_lim_db == math.inf
    assert settings.set("output.dry=1").output.dry == 1.0


@pytest.mark.parametrize(
    ("assignment", "hint"),
    [
        ("inference.iteration=7", "inference.iterations"),
        ("rank=3", "noise.rank"),
        ("noise=3", "noise."),
        ("noise.rank.x=3", "noise.rank"),
        ("sed=3", "seed"),
    ],
)
def test_an_unknown_key_names_the_nearest(assignment, hint):
    with pytest.raises(UsageError, match="unknown setting") as error:
        Config().set(assignment)
    assert hint in error.value.hint


@pytest.mark.parametrize(
    "assignment",
    [
        "noise.rank=x",
        "noise.rank=1.5",
        "noise.rank=true",
        "output.dry=nan",
        "prior=3",
        "seed",
        "=3",
        "seed=[1]",
    ],
)
def test_values_of_the_wrong_type(assignment):
    with pytest.raises(UsageError):
        Config().set(assignment)


@pytest.mark.parametrize(
    ("assignment", "range"),
    [
        ("noise.init_scale=1e300", "1e-6 to 1e6"),
        ("noise.rank=100000000", "1 to 1024"),
        ("noise.rank=0", "1 to 1024"),
        ("estep.draws=-1", "1 to 10000"),
        ("output.dry=2", "0 to 1"),
        ("noise.alpha=2", "between 0 and 2"),
        ("inference.segment=0", "above 0, to 1e6"),
        ("inference.pause_db=-1", "0 or more"),
        ("output.floor_db=-1", "0 or more"),
    ],
)
def test_values_out_of_range(assignment, range):
    with pytest.raises(UsageError) as error:
        Config().set(assignment)
    assert error.value.hint == f"the range is {range}"
    assert error.value.message.startswith(assignment.split("=")[0])


def test_every_number_has_a_range():
    for section in (Config, *(type(getattr(Config(), name)) for name in ("estep", "noise", "gain", "output"))):
        for field in dataclasses.fields(section):
            numeric = any(word in str(field.type) for word in ("int", "float"))
            if numeric and field.name != "seed":
                assert field.metadata["range"] is not None, field.name


@pytest.mark.parametrize("assignment", ["noise.rank", "noise.rank=", "noise.rank = "])
def test_a_key_without_a_value_says_what_is_expected(assignment):
    with pytest.raises(UsageError, match="has no value") as error:
        Config().set(assignment)
    assert error.value.hint == "write noise.rank=VALUE: a whole number or none, 1 to 1024"


def test_a_preset_is_not_a_setting(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('preset = "fast"')
    with pytest.raises(UsageError, match="unknown setting 'preset'") as error:
        Config.from_toml(path)
    assert "--preset NAME" in error.value.hint
    with pytest.raises(UsageError) as error:
        Config().set("zzz=1")
    assert error.value.hint == "--print-config shows every setting"


def test_files_that_cannot_be_read(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("noise = [")
    for path in (tmp_path / "none.toml", bad, tmp_path):
        with pytest.raises(UsageError):
            Config.from_toml(path)
    bad.write_text("[noize]\nrank = 3\n")
    with pytest.raises(UsageError) as error:
        Config.from_toml(bad)
    assert "noise.rank" in error.value.hint
    with pytest.raises(UsageError, match="unknown preset"):
        Config.preset("defautl")


def test_settings_are_frozen():
    settings = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 3  # type: ignore[misc]


def test_types_beyond_the_plain_ones():
    """Settings may be optional values and lists: the types come from the type hints."""
    assert config_values.checked("none", float | None, "k") is None
    assert config_values.checked(3, float | None, "k") == 3.0
    assert config_values.checked([3, 4], tuple[int, ...], "k") == (3, 4)
    with pytest.raises(UsageError, match="a number or none"):
        config_values.checked("x", float | None, "k")
    with pytest.raises(UsageError, match="a list of a whole number"):
        config_values.checked([3, "x"], tuple[int, ...], "k")


def _settings(cls):
    """Every field of the tree that is not a section."""
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING:
            yield from _settings(field.default_factory)
        else:
            yield cls, field


def test_every_setting_says_what_it_means():
    for cls, field in _settings(Config):
        assert set(field.metadata) == {"help", "unit", "range"}, f"{cls.__name__}.{field.name}: use setting()"
        assert field.metadata["help"].endswith("."), f"{cls.__name__}.{field.name}"


def test_settings_need_no_torch():
    code = "import sys, vae_se.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
