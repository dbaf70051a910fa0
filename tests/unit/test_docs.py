"""The documentation names what exists: links, modules, objects, files and settings."""

import csv
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from vae_se.config import keys

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "eval").glob("**/*.md")])

_LINK = re.compile(r"\]\(([^)\s]+)\)")
# The form of docs/model.md: [vae_se/stft.py](../vae_se/stft.py) `STFT.transform`, `STFT.taper`
_OBJECT = re.compile(r"\]\(\.\./(?P<file>vae_se/[\w/]+\.py)\)(?P<names>(?:,? `[A-Za-z_][\w.]*`)+)")
_DOTTED = re.compile(r"\bvae_se(?:\.[A-Za-z_]\w*)+")
_PATH = re.compile(r"\b(?:vae_se|docs|eval|examples|tests)/[\w./-]*\w")
_MODULE = re.compile(r"`((?:\w+/)*\w+\.py)`")
_SETTING = re.compile(r"`((?:estep|noise|gain|inference|output)\.[a-z_]+)(?=[`= ])")

#: Dotted names and paths that are no module or file: a group of entry points, and what a command writes.
NO_NAMES = {"vae_se.methods", "examples/noisy_enhanced.wav"}


def text_of(page):
    return page.read_text(encoding="utf-8")


def slugs(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(page, target):
    if "://" in target:
        return True
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not anchor or anchor in slugs(file))


def is_defined(dotted):
    """Whether a dotted name is a module, or an attribute or dataclass field of what is in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            fields = getattr(found, "__dataclass_fields__", {})
            if not hasattr(found, name) and name not in fields:
                return False
            found = getattr(found, name, fields.get(name))
        return True
    return False


def path_exists(page, path):
    if any(part.isupper() for part in re.split(r"\W", path)):
        return True  # a placeholder such as NAME.toml
    if page.parent.name == "results" and not path.startswith("vae_se/"):
        return True  # commands there name what they wrote
    return path in NO_NAMES or (ROOT / path).exists()


def is_module(path):
    """Whether a file exists, named from the root, from vae_se/ or, without a folder, by its name alone."""
    if "/" not in path:
        return any((ROOT / "vae_se").rglob(path)) or any((ROOT / "eval").rglob(path))
    return (ROOT / path).exists() or (ROOT / "vae_se" / path).exists()


def generator():
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "names.md"])
def test_generated_pages_are_up_to_date(name):
    assert text_of(ROOT / "docs" / name) == generator().PAGES[name](), "run python docs/make_settings.py"


def test_every_setting_is_on_the_page():
    page = text_of(ROOT / "docs" / "settings.md")
    known = keys()
    assert [key for key in known if f"`{key}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestPage:
    def test_links_lead_somewhere(self, page):
        assert [link for link in _LINK.findall(text_of(page)) if not leads_somewhere(page, link)] == []

    def test_objects_named_beside_a_file_are_defined_there(self, page):
        names = [
            f"{row['file'].removesuffix('.py').replace('/', '.')}.{name}"
            for row in _OBJECT.finditer(text_of(page))
            for name in re.findall(r"`([\w.]+)`", row["names"])
        ]
        assert [name for name in names if not is_defined(name)] == []

    def test_dotted_names_exist(self, page):
        names = set(_DOTTED.findall(text_of(page))) - NO_NAMES
        assert [name for name in names if not is_defined(name)] == []

    def test_paths_exist(self, page):
        assert [path for path in _PATH.findall(text_of(page)) if not path_exists(page, path)] == []

    def test_modules_exist(self, page):
        assert [path for path in _MODULE.findall(text_of(page)) if not is_module(path)] == []

    def test_settings_exist(self, page):
        if page.name != "names.md":  # has the old ones
            known = keys()
            assert [key for key in _SETTING.findall(text_of(page)) if key not in known] == []


def test_the_index_lists_every_page_and_the_readme_the_index():
    index = text_of(ROOT / "docs" / "index.md")
    missing = [page.name for page in (ROOT / "docs").glob("*.md") if f"]({page.name})" not in index]
    assert missing == ["index.md"]
    assert "](docs/index.md)" in text_of(ROOT / "README.md")


def test_the_readme_activates_the_environment_before_it_uses_the_bare_command():
    block = text_of(ROOT / "README.md").partition("## Install and use")[2]
    lines = [line.strip() for line in block.splitlines() if line.startswith("    ")]
    (activated,) = (number for number, line in enumerate(lines) if "source .venv/bin/activate" in line)
    assert min(number for number, line in enumerate(lines) if "vae-se " in line) > activated
    assert r".venv\Scripts\activate" in block


def test_the_model_page_names_objects():
    assert len(_OBJECT.findall(text_of(ROOT / "docs" / "model.md"))) > 20


def test_pages_named_in_the_code_exist():
    pattern = re.compile(r"\b(?:docs|eval/results)/[\w-]+\.(?:md|png|csv)")
    named = {
        (str(file.relative_to(ROOT)), page)
        for file in (ROOT / "vae_se").glob("**/*.py")
        for page in pattern.findall(text_of(file))
    }
    assert named
    assert [pair for pair in named if not (ROOT / pair[1]).exists()] == []


def test_the_changes_by_snr_in_the_readme_are_those_of_the_table_of_validation():
    with (ROOT / "eval/results/validation.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["method"] == "mcem" and row["group"] == "snr_db"]
    text = (ROOT / "README.md").read_text()
    for heading, metric, digits in (
        ("SI-SDR, dB", "si_sdr", 1),
        ("PESQ-wb", "pesq_wb", 2),
        ("ESTOI", "estoi", 3),
    ):
        known = {float(row["value"]): float(row["vs_noisy_mean"]) for row in rows if row["metric"] == metric}
        cells = [f"{known[snr]:+.{digits}f}" for snr in (-5.0, 0.0, 5.0, 10.0, 15.0)]
        cells = [re.sub(r"^([+-])0\.", r"\1.", cell) for cell in cells]
        assert f"| {heading} | {' | '.join(cells)} |" in text


def test_the_cost_of_the_encoder_s_kernels_is_that_of_their_table():
    rows = (line.strip("| ").split(" | ") for line in (ROOT / "eval/results/estep.md").read_text().splitlines())
    speed = {cells[0]: float(cells[2]) for cells in rows if len(cells) == 3 and cells[0].endswith("-40")}
    costs = [speed[name] / speed["vem-40"] for name in ("encoder-is-40", "encoder-mh-40")]
    text = " ".join((ROOT / "docs/inference.md").read_text().split())
    assert f"the SI-SDR of `vem` at {costs[0]:.1f} and {costs[1]:.1f} times the cost" in text
