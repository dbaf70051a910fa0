"""Files appear complete or not at all."""

from __future__ import annotations

import os

import pytest

from vae_se.storage.atomic import replacing, write_atomically


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(TypeError), replacing(path) as temporary, temporary.open("w") as file:
        print("half", file=file, end=7)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["x"]


def test_bytes_are_synced_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd)))
    monkeypatch.setattr(os, "rename", lambda *names: (done.append("rename"), replace(*names)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("rename"), replace(*names)))
    write_atomically(tmp_path / "x", b"data")
    assert [os.path.basename(name) for name in done] == [f".x.{os.getpid()}.tmp", "rename", tmp_path.name]
