"""A protocol: data x methods x metrics, as a TOML file.

name = "example"
seed = 0

[data]
set = "mixing"          # a name in vae_se.data.testsets, its options beside it
speech = "speech/valid"

[methods.noisy]         # a baseline, an enhancer preset, or an entry point of vae_se.methods
[methods.long]          # any other label:
use = "default"         #   the method that it stands for
inference.iterations = 200

[metrics]
names = ["pesq_wb", "estoi", "si_sdr"]
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..data.testsets import TESTSETS
from ..errors import UsageError, nearest
from ..metrics import METRICS
from .methods import check_method
from .spec import MethodSpec, check_label

_TOP = ("name", "description", "seed", "data", "methods", "metrics")
DATA_ROOT_VARIABLE = "VAE_SE_DATA"
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Protocol:
    """The mixtures, methods and metrics of a run. ``data`` is the [data] table without ``set``."""

    name: str
    seed: int
    data_set: str
    data: Mapping[str, Any]
    methods: tuple[MethodSpec, ...]
    metrics: tuple[str, ...]
    description: str = ""

    def digest(self) -> str:
        """Digest of what makes scores comparable: data, metrics and seed, but not the methods."""
        text = json.dumps([self.data_set, dict(self.data), self.metrics, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def only(self, labels: list[str]) -> Protocol:
        """The protocol with these methods alone, in this order; a name that it does not list is added."""
        known = {spec.label: spec for spec in self.methods}
        return replace(self, methods=tuple(known.get(x) or checked_spec(x, {}, known) for x in labels))


def find_protocol(name: str) -> Path:
    """The file ``name``, or ``name``.toml in eval/protocols of the working directory, or a shipped protocol.

    Raises UsageError where there is none.
    """
    if Path(name).is_file():
        return Path(name)
    folders = [Path.cwd() / "eval" / "protocols", shipped_folder()]
    for folder in folders:
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    shipped = {path.stem for folder in folders for path in folder.glob("*.toml")}
    raise UsageError(f"no protocol {name!r}", nearest(Path(name).stem, shipped))


def shipped_folder() -> Path:
    """Folder of the shipped protocols: inside the installed package, or eval/protocols of a checkout."""
    inside = Path(__file__).resolve().parent / "protocols"
    return inside if inside.is_dir() else _CHECKOUT / "eval" / "protocols"


def find_data_root(given: str | None) -> Path:
    """``given``, or $VAE_SE_DATA, or ../shared/data of the working directory or the checkout.

    Without any of these it is the working directory. Raises UsageError for a folder that does not exist.
    """
    if given or os.environ.get(DATA_ROOT_VARIABLE):
        root = Path(given or os.environ[DATA_ROOT_VARIABLE])
        if not root.is_dir():
            raise UsageError(f"no folder {root}", f"it comes from --data-root or {DATA_ROOT_VARIABLE}")
        return root
    for base in (Path.cwd(), _CHECKOUT):
        if (base.parent / "shared" / "data").is_dir():
            return base.parent / "shared" / "data"
    return Path.cwd()


def load_protocol(path: Path) -> Protocol:
    """Read and check a protocol. Raises UsageError for a file that is not a valid protocol."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the protocol {path}: {error}") from error
    return parse_protocol(table, path.stem)


def parse_protocol(table: Mapping[str, Any], name: str) -> Protocol:
    """The protocol of a parsed TOML table; ``name`` is its name unless the table has one.

    Raises UsageError for unknown keys and names, and for values of the wrong type.
    """
    for key in table:
        if key not in _TOP:
            raise UsageError(f"unknown key {key!r} in the protocol", nearest(key, _TOP))
    for key in ("data", "methods", "metrics"):
        if not isinstance(table.get(key), Mapping):
            raise UsageError(f"the protocol lacks a [{key}] table")
    seed = table.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UsageError(f"seed is {seed!r}; expected a whole number")
    data = dict(table["data"])
    data_set = data.pop("set", None)
    if not isinstance(data_set, str):
        raise UsageError("[data] lacks a set", nearest("", TESTSETS))
    adapter = TESTSETS[data_set]
    if any(item.name == "seed" for item in fields(adapter.options)):
        data.setdefault("seed", seed)
    for key in table["metrics"]:
        if key != "names":
            raise UsageError(f"unknown key {key!r} in [metrics]", 'write names = ["pesq_wb", "estoi"]')
    metrics = table["metrics"].get("names")
    if not isinstance(metrics, list) or not metrics:
        raise UsageError("[metrics] lacks names", nearest("", METRICS))
    for metric in metrics:
        METRICS[metric]
    if len(set(metrics)) != len(metrics):
        raise UsageError("[metrics] names a metric twice")
    methods = dict(table["methods"])
    if not methods:
        raise UsageError("[methods] is empty", "write for example [methods.noisy]")
    specs = tuple(checked_spec(label, options, methods) for label, options in methods.items())
    return Protocol(
        name=str(table.get("name", name)),
        description=str(table.get("description", "")),
        seed=seed,
        data_set=data_set,
        data=data,
        methods=specs,
        metrics=tuple(metrics),
    )


def checked_spec(label: str, options: object, methods: Mapping[str, Any]) -> MethodSpec:
    """The spec of one entry of [methods]. Raises UsageError for unknown names and options."""
    check_label(label)
    if not isinstance(options, Mapping):
        raise UsageError(f"methods.{label} is {options!r}; expected a table", f"write [methods.{label}]")
    flat = dict(_flatten(options))
    use = flat.pop("use", label)
    if not isinstance(use, str):
        raise UsageError(f"use = {use!r} in [methods.{label}]; expected a name")
    spec = MethodSpec(label, use, tuple(sorted(flat.items())))
    check_method(spec)
    return spec


def _flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            out += _flatten(value, f"{prefix}{key}.")
        else:
            out.append((prefix + key, value))
    return out
