"""The examples in docstrings."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
import torch

import vae_se

ROOT = Path(vae_se.__file__).resolve().parent
MODULES = [
    ".".join(["vae_se", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if re.search(r"^ *>>> (?!.*doctest: \+SKIP)", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    with torch.random.fork_rng(devices=[]):
        found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
