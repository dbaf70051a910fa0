"""The table of mutants still fits the code and the tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def mutants():
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "eval/scripts/mutants.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where dataclasses look it up
    spec.loader.exec_module(module)
    return module


def test_each_mutant_changes_a_text_that_occurs_once(mutants):
    for mutant in mutants.load():
        for change in mutant.changes:
            count = (ROOT / change.file).read_text().count(change.old)
            assert count == 1, f"{mutant.name}: the text to replace occurs {count} times in {change.file}"
            assert change.old != change.new, mutant.name


def test_each_mutant_has_a_name_of_its_own_and_tests_that_exist(mutants):
    table = mutants.load()
    assert len({mutant.name for mutant in table}) == len(table) >= 100
    for mutant in table:
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            file, _, name = test.partition("::")
            text = (ROOT / file).read_text()
            assert f"def {name.partition('[')[0]}" in text, f"{mutant.name}: there is no test {test}"
        assert mutant.explanation or not mutant.equivalent, mutant.name


def test_the_committed_results_are_those_of_the_table(mutants):
    """Every mutant was run as the table has it now, and those that survive are explained."""
    rows = mutants.read(mutants.RESULTS)
    for mutant in mutants.load():
        assert mutant.key in rows, f"{mutant.name} has changed: run eval/scripts/mutants.py"
        if rows[mutant.key]["outcome"] not in ("killed", "timeout"):
            assert mutant.explanation, f"{mutant.name} {rows[mutant.key]['outcome']}"
    assert mutants.RESULTS.with_suffix(".md").read_text() == mutants.report(mutants.load(), rows)


def test_a_mutant_is_applied_and_undone(mutants, tmp_path):
    path = tmp_path / "a.py"
    path.write_text("x = 1 + 2\ny = 3\n")
    changes = (mutants.Change("a.py", "1 + 2", "1 - 2"), mutants.Change("a.py", "y = 3", "y = 4"))
    mutant = mutants.Mutant("sign", changes, ("tests",))
    with mutants.applied(mutant, tmp_path):
        assert path.read_text() == "x = 1 - 2\ny = 4\n"
    assert path.read_text() == "x = 1 + 2\ny = 3\n"
    absent = mutants.Mutant("absent", (mutants.Change("a.py", "z", "w"),), ("tests",))
    with pytest.raises(ValueError, match="occurs 0 times"), mutants.applied(absent, tmp_path):
        pass
    assert path.read_text() == "x = 1 + 2\ny = 3\n"


def test_the_score_leaves_out_equivalent_mutants(mutants):
    def made(name, **more):
        return mutants.Mutant(name, (mutants.Change("vae_se/noise/nmf.py", name, ""),), ("tests",), **more)

    table = [made("a"), made("b"), made("c", explanation="no result", equivalent=True), made("d")]
    outcomes = ("killed", "timeout", "survived", "survived")
    rows = {m.key: {"outcome": outcome} for m, outcome in zip(table, outcomes, strict=True)}
    lines = mutants.report(table, rows).splitlines()
    assert "| noise | 4 | 1 | 1 | 1 | 1 | 67% |" in lines
    assert "| c | `vae_se/noise/nmf.py` | no result |" in lines
