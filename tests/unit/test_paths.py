"""Which files come in and where they go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vae_se.audio import paths
from vae_se.errors import UsageError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """a.wav, b.flac, notes.txt, sub/a.wav, sub/deep/c.mp3, .hidden.wav; the working directory is there."""
    for name in ("a.wav", "b.flac", "notes.txt", "sub/a.wav", "sub/deep/c.mp3", ".hidden.wav", ".git/x.wav"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def labels(*inputs, below=None):
    return [s.label for s in paths.collect(inputs, below)]


def targets(inputs, output=None, **options):
    sources = paths.collect(inputs)
    jobs = paths.plan(sources, output, many=paths.several(inputs), **options)
    return [str(j.target) for j in jobs]


def test_a_folder_is_walked_and_its_tree_kept(tree):
    assert labels("in") == ["in/a.wav", "in/b.flac", "in/sub/a.wav", "in/sub/deep/c.mp3"]
    assert targets(["in"], "out") == [
        "out/a_enhanced.wav",
        "out/b_enhanced.flac",
        "out/sub/a_enhanced.wav",
        "out/sub/deep/c_enhanced.mp3",
    ]


def test_outputs_below_the_input_are_not_inputs_the_second_time(tree):
    (tree / "in/out").mkdir()
    (tree / "in/out/a_enhanced.wav").write_bytes(b"x")
    assert "in/out/a_enhanced.wav" in labels("in")
    assert "in/out/a_enhanced.wav" not in labels("in", below=Path("in/out"))


def test_globs_keep_the_tree_below_their_fixed_part(tree):
    assert labels("in/*.wav") == ["in/a.wav"]
    assert labels("in/**/*.wav") == ["in/a.wav", "in/sub/a.wav"]
    assert targets(["in/**/*.wav"], "out") == ["out/a_enhanced.wav", "out/sub/a_enhanced.wav"]
    assert targets(["in/s*"], "out") == ["out/sub/a_enhanced.wav", "out/sub/deep/c_enhanced.mp3"]


def test_a_file_whose_name_looks_like_a_pattern_or_a_list(tree):
    for name in ("x[1].wav", "@home.wav", "what?.wav"):
        Path(name).write_bytes(b"x")
        assert labels(name) == [name]


def test_lists(tree):
    Path("list.txt").write_text("# recordings\n\nin/a.wav\n  in/sub  \n")
    assert labels("@list.txt") == ["in/a.wav", "in/sub/a.wav", "in/sub/deep/c.mp3"]
    Path("nested.txt").write_text("@list.txt\n")
    Path("empty.txt").write_text("# nothing\n")
    for bad in ("@nested.txt", "@empty.txt", "@missing.txt"):
        with pytest.raises(UsageError):
            labels(bad)


def test_each_input_comes_once(tree):
    assert labels("in/a.wav", "in/a.wav", str(tree / "in/a.wav"), "in/*.wav") == ["in/a.wav"]


@pytest.mark.parametrize("item", ["in/*.ogg", "empty"])
def test_what_finds_nothing_is_a_failed_input_and_not_the_end(tree, item):
    (tree / "empty").mkdir()
    bad, good = paths.collect([item, "in/a.wav"])
    assert bad.problem is not None
    assert item in str(bad.problem)
    assert good.problem is None


def test_one_input_goes_beside_itself_or_where_told(tree):
    assert targets(["in/a.wav"]) == ["in/a_enhanced.wav"]
    assert targets(["in/a.wav"], "x.flac") == ["x.flac"]
    assert targets(["in/a.wav"], "out/") == ["out/a_enhanced.wav"]
    assert targets(["in/a.wav"], "out") == ["out/a_enhanced.wav"]
    (tree / "folder.d").mkdir()
    assert targets(["in/a.wav"], "folder.d") == ["folder.d/a_enhanced.wav"]
    assert targets(["-"]) == ["None"]
    assert targets(["-"], "x.wav") == ["x.wav"]
    assert targets(["-"], "out/") == ["out/stdin_enhanced.wav"]


def test_extensions_that_cannot_be_written_become_wav(tree):
    Path("talk").write_bytes(b"x")
    assert targets(["talk"]) == ["talk_enhanced.wav"]
    with pytest.raises(UsageError, match="does not have the extension of an audio format"):
        targets(["in/a.wav"], "x.doc")


def test_name_templates(tree):
    assert targets(["in/a.wav"], name="{stem}_{method}{ext}", method="log-mmse") == ["in/a_log-mmse.wav"]
    assert targets(["in/sub/a.wav"], "out/", name="{parent}-{stem}.flac") == ["out/sub-a.flac"]


@pytest.mark.parametrize(
    "name",
    ["../{stem}{ext}", "/tmp/x.wav", "a/{stem}{ext}", "..", "", "{stm}.wav", "{stem", "{stem}.doc", "{0}.wav"],
)
def test_names_cannot_leave_the_output_folder(tree, name):
    with pytest.raises(UsageError):
        targets(["in/a.wav"], "out/", name=name)


def test_an_input_is_never_an_output(tree):
    with pytest.raises(UsageError, match="is an input and would be the output"):
        targets(["in/a.wav"], "in/a.wav", overwrite=True)
    with pytest.raises(UsageError, match="is an input and would be the output"):
        targets(["in/a.wav"], name="{stem}{ext}")
    os.symlink("a.wav", "in/link.wav")
    with pytest.raises(UsageError, match="is an input and would be the output"):
        targets(["in/a.wav"], "in/link.wav", overwrite=True)
    Path("in/a_enhanced.wav").write_bytes(b"x")
    with pytest.raises(UsageError, match="is an input and would be the output"):
        targets(["in/a.wav", "in/a_enhanced.wav"])
    Path("y_noise.wav").write_bytes(b"x")
    with pytest.raises(UsageError, match="is an input and would be the output"):
        paths.plan(paths.collect(["y_noise.wav"]), "y.wav", with_noise=True)


def test_two_inputs_do_not_share_an_output(tree):
    with pytest.raises(UsageError, match="both be written"):
        targets(["in/a.wav", "in/sub/a.wav"], "out")
    assert targets(["in/a.wav", "in/sub/a.wav"], "out", name="{parent}_{stem}{ext}") == [
        "out/in_a.wav",
        "out/sub_a.wav",
    ]


def test_what_exists_is_marked(tree):
    Path("in/a_enhanced.wav").write_bytes(b"x")
    sources = paths.collect(["in/a.wav"])
    assert paths.plan(sources)[0].exists
    assert not paths.plan(sources, overwrite=True)[0].exists


def test_several_inputs_need_a_folder(tree):
    with pytest.raises(UsageError, match="is a file"):
        targets(["in/a.wav", "in/b.flac"], "in/notes.txt")
    with pytest.raises(UsageError, match="one stdout"):
        targets(["in/a.wav", "in/b.flac"], "-")
    with pytest.raises(UsageError, match="one stdout"):
        targets(["in/a.wav", "-"])
