"""Protocols: errors in one line with the nearest valid name."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from vae_se.benchmark import protocol as module
from vae_se.benchmark.methods import ENHANCERS
from vae_se.benchmark.protocol import find_data_root, find_protocol, load_protocol, parse_protocol
from vae_se.config import PRESETS
from vae_se.data.testsets import TESTSETS
from vae_se.errors import UsageError

CHECKOUT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((CHECKOUT / "eval" / "protocols").glob("*.toml"))


def table(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "data": {"set": "mixing"},
        "methods": {"noisy": {}},
        "metrics": {"names": ["pesq_wb"]},
    }
    return {**base, **changes}


def test_a_protocol_is_read() -> None:
    protocol = parse_protocol(
        table(seed=3, methods={"noisy": {}, "long": {"use": "default", "inference": {"iterations": 7}}}), "x"
    )
    assert protocol.name == "x"
    assert protocol.data["seed"] == 3
    assert protocol.methods[1].use == "default"
    assert protocol.methods[1].options == (("inference.iterations", 7),)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"metric": {}}, "unknown key 'metric'", "metrics"),
        ({"data": {"set": "mixin"}}, "unknown test set 'mixin'", "mixing"),
        ({"data": {}}, "lacks a set", "mixing"),
        ({"metrics": {"names": ["pesq"]}}, "unknown metric 'pesq'", "pesq_"),
        ({"metrics": {"name": ["pesq_wb"]}}, "unknown key 'name'", "names"),
        ({"methods": {"log_mmse": {}}}, "unknown method 'log_mmse'", "log-mmse"),
        ({"methods": {"noisy": {"x": 1}}}, "takes no options", ""),
        ({"methods": {"mcem": {"inference": {"iteration": 1}}}}, "unknown setting", "inference.iterations"),
        ({"methods": {"mcem": {"preset": "quick"}}}, "unknown preset", ""),
        ({"methods": {"a/b": {"use": "noisy"}}}, "method label", ""),
        ({"methods": {}}, "empty", ""),
        ({"seed": "one"}, "seed is 'one'", ""),
    ],
)
def test_errors_name_the_fault(changes: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_protocol(table(**changes), "x")
    assert hint in caught.value.hint


def test_unknown_and_wrong_data_options() -> None:
    adapter = TESTSETS["mixing"]
    with pytest.raises(UsageError, match=r"unknown key 'snr_db' in \[data\]") as caught:
        adapter.open({"snr_db": [0]}, Path())
    assert "snrs_db" in caught.value.hint
    with pytest.raises(UsageError, match="expected int"):
        adapter.open({"count": "many"}, Path())
    with pytest.raises(UsageError, match="expected a list"):
        adapter.open({"snrs_db": 5}, Path())


def test_a_missing_file_and_a_near_name() -> None:
    with pytest.raises(UsageError) as caught:
        find_protocol("quik")
    assert "quick" in caught.value.hint
    assert find_protocol("quick").name == "quick.toml"


def test_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_SE_DATA", str(tmp_path))
    assert find_data_root(None) == tmp_path
    assert find_data_root(str(tmp_path / "..")) == tmp_path / ".."
    with pytest.raises(UsageError, match="no folder"):
        find_data_root(str(tmp_path / "no"))
    monkeypatch.delenv("VAE_SE_DATA")
    (tmp_path / "shared/data").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert find_data_root(None) == tmp_path / "shared/data"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_protocols_are_valid(path: Path) -> None:
    from vae_se.data.table import from_table

    loaded = load_protocol(path)
    from_table(TESTSETS[loaded.data_set].options, loaded.data, "[data]")
    assert loaded.name == path.stem
    assert loaded.description
    assert loaded.methods[0].label == "noisy"


def test_an_installed_package_brings_the_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    inside = tmp_path / "site-packages" / wheel["eval/protocols"]
    shutil.copytree(CHECKOUT / "eval" / "protocols", inside)
    # As if the module lay there, away from any checkout.
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site-packages/vae_se/benchmark/protocol.py"))
    monkeypatch.setattr(module, "_CHECKOUT", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert find_protocol("quick") == inside / "quick.toml"
    with pytest.raises(UsageError, match="did you mean quick"):
        find_protocol("quik")


def test_every_preset_is_a_method() -> None:
    assert set(PRESETS) <= set(ENHANCERS)
    assert set(ENHANCERS.values()) <= set(PRESETS)


def test_methods_can_be_chosen_and_added() -> None:
    protocol = parse_protocol(table(methods={"noisy": {}, "long": {"use": "mcem", "estep": {"draws": 3}}}), "x")
    chosen = protocol.only(["long", "log-mmse"])
    assert [(spec.label, spec.use) for spec in chosen.methods] == [("long", "mcem"), ("log-mmse", "log-mmse")]
    assert chosen.digest() == protocol.digest()
    with pytest.raises(UsageError, match="unknown method"):
        protocol.only(["lnog"])


def test_the_header_has_all_settings_of_the_enhancer() -> None:
    from vae_se.benchmark.methods import describe_method
    from vae_se.benchmark.protocol import checked_spec

    spec = checked_spec("x", {"use": "fast", "noise": {"rank": 5}}, {})
    about = describe_method(spec, seed=7)
    json.dumps(about, allow_nan=False)
    assert about["settings"]["noise.rank"] == 5
    assert about["settings"]["seed"] == 7
    assert "weights" in about


def test_results_depend_on_the_noisy_encoder(tiny_prior: Path, tmp_path: Path) -> None:
    from vae_se.benchmark.methods import describe_method
    from vae_se.benchmark.protocol import checked_spec

    def about(noisy_encoder: str) -> dict[str, Any]:
        given = {"use": "fast", "prior": str(tmp_path / "prior"), "inference": {"noisy_encoder": noisy_encoder}}
        return describe_method(checked_spec("x", given, {}), seed=0)

    shutil.copytree(tiny_prior, tmp_path / "prior")
    assert "noisy_encoder" not in about("auto")
    network = tmp_path / "prior" / "noisy_encoder"
    network.mkdir()
    (network / "config.json").write_text("{}")
    seen = []
    for content in (b"one", b"another"):
        (network / "weights.safetensors").write_bytes(content)
        seen.append(about("auto")["noisy_encoder"])
        assert about(str(network))["noisy_encoder"] == seen[-1]
    assert seen[0] != seen[1]
    assert "noisy_encoder" not in about("none")
