"""Figures in the pages are those of their CSV files, and a figure that differs is found."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("check_numbers", ROOT / "eval/scripts/check_numbers.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figures_in_the_pages_are_those_of_their_files(check, capsys):
    assert check.main([]) == 0, capsys.readouterr().out
    # README's tables of quality and of losses are tied.
    assert len(list(check.ties("README.md", (ROOT / "README.md").read_text()))) >= 50


TABLE = """\
<!-- numbers a.csv; rows method: x, y; columns metric: sdr, pesq / stoi -->
| | SDR | others |
|---|---|---|
| X | **1.23** dB | 2.5 / .714 |
| Y | -7 | +3.5 / .65 |

At 5 dB +4.6 dB<!-- number a.csv; method x; metric sdr; snr_db 5; value change --> are gained.
"""
CSV = """\
method,metric,group,value,mean,change
x,sdr,all,,1.2349,9
x,sdr,snr_db,5,2,4.58
x,pesq,all,,2.46,0
x,stoi,all,,0.7136,0
y,sdr,all,,-6.6,0
y,pesq,all,,3.5,0
y,stoi,all,,0.65,0
"""


@pytest.fixture
def page(tmp_path):
    """A page and its file, which agree."""
    (tmp_path / "eval/results").mkdir(parents=True)
    (tmp_path / "eval/results/a.csv").write_text(CSV)
    (tmp_path / "page.md").write_text(TABLE)
    return tmp_path / "page.md"


def test_figures_are_rounded_to_the_digits_of_the_page(check, page):
    assert check.faults(page.parent, [page]) == (7, [])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1.23", "1.24", "page.md:4: 1.24 should be 1.2349 (a.csv, method x, metric sdr, mean)"),
        (".714", ".713", "page.md:4: .713 should be 0.7136"),
        ("-7", "7", "page.md:5: 7 should be -6.6"),
        ("+4.6", "+4.5", "page.md:7: +4.5 should be 4.58"),
        ("2.5 / .714", "2.5", "page.md:4: there is no figure"),
        ("x, y;", "x, z;", "0 rows for a.csv, method z"),
        ("x, y;", "x;", "page.md:1: the comment has 1 rows and 2 columns, the table 2 and 2"),
        ("numbers a.csv", "numbers b.csv", "there is no b.csv"),
        ("value change", "value chance", "rows for a.csv"),
        ("numbers a.csv;", "numbers a.csv", "page.md:1: this comment cannot be read"),
    ],
)
def test_a_figure_that_differs_is_named_with_its_place_and_its_source(check, page, old, new, said):
    text = page.read_text()
    assert text.count(old) == 1 or old == "value change"
    page.write_text(text.replace(old, new))
    _, found = check.faults(page.parent, [page])
    assert any(said in fault for fault in found), found
