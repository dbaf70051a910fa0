"""Files about the project agree with it: citation, container, site."""

from __future__ import annotations

import re
import tomllib

import vae_se
from tests.conftest import ROOT


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_names_this_version() -> None:
    assert f"version: {vae_se.__version__}\n" in read("CITATION.cff")


def test_the_container_gets_every_file_that_the_package_is_built_from() -> None:
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", read("Dockerfile"), re.MULTILINE)
    copied = [name for line in lines for name in line.split()]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    targets = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]
    built = {"pyproject.toml", "README.md", "LICENSE", "vae_se", *targets["wheel"]["force-include"]}
    assert built | {"constraints.txt"} == set(copied)
    allowed = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert allowed == set(copied)


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = read("mkdocs.yml").partition("\nnav:")[2]
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    named = set(re.findall(r"[\w-]+\.md", navigation))
    assert named == pages | {"overview.md"}  # README.md
