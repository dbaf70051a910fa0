"""``vae-se noise compare``: the table, its JSON, and what is refused."""

import json

import pytest

QUICK = ("--preset", "fast")


@pytest.fixture
def recording(wav, make_noisy):
    return wav("talk.wav", 0.1 * make_noisy(0.6))


def test_the_models_are_ordered_and_the_command_for_the_best_is_given(cli, recording, tiny_prior):
    options = (recording, "--models", "stationary,nmf:2", "--prior", tiny_prior, *QUICK)
    ran = cli("noise", "compare", *options)
    assert ran.code == 0, ran.err
    head, *rows = (line.split() for line in ran.out.splitlines())
    assert head == ["model", "rank", "score", "behind", "+-"]
    assert rows[0][-2:] == ["0.0000", "0.0000"]
    assert f"vae-se enhance {recording} --noise {rows[0][0]}" in ran.err

    found = json.loads(cli("noise", "compare", *options, "--json").out)
    assert [one["name"] for one in found] == [row[0] for row in rows]
    assert {one["name"]: one["rank"] for one in found} == {"stationary": None, "nmf": 2}
    assert found[0]["score"] >= found[1]["score"]


@pytest.mark.parametrize("models", ["", "nmf:x", "nmf,nmf", "no-such-model", "stationary:4"])
def test_mistakes_are_named_in_one_line(cli, recording, tiny_prior, models):
    ran = cli("noise", "compare", recording, "--models", models, "--prior", tiny_prior)
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) <= 2


def test_a_file_that_does_not_exist_fails(cli, tmp_path):
    assert cli("noise", "compare", tmp_path / "no.wav").code == 1
