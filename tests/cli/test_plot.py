"""``vae-se enhance --plot``."""

import json

import numpy as np
import pytest

from tests.cli.test_enhance import enhance, quick  # noqa: F401
from vae_se.audio.paths import FileJob, Source
from vae_se.cli.side_files import PICTURE, plan_side_files
from vae_se.errors import UsageError
from vae_se.plots.recording import thin

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _needs_matplotlib():
    pytest.importorskip("matplotlib")


def test_one_picture(enhance, wav, make_noisy, tmp_path):  # noqa: F811
    ran = enhance(wav("talk.wav", make_noisy(0.8)), "--plot", tmp_path / "new" / "talk.png", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["picture"] == str(tmp_path / "new" / "talk.png")
    assert (tmp_path / "new" / "talk.png").read_bytes().startswith(PNG)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["talk.png"]


def test_a_folder_of_pictures_and_the_rest_of_stereo(enhance, wav, make_noisy, tmp_path):  # noqa: F811
    stereo = np.stack([np.zeros(8000), make_noisy(0.5)])
    one, two = wav("one.wav", stereo), wav("two.wav", np.zeros(4000))
    ran = enhance(one, two, "-o", tmp_path / "out", "--plot", tmp_path / "pictures", "--json")
    assert ran.code == 0, ran.err
    first, second = (json.loads(line) for line in ran.out.splitlines())
    assert first["picture"] == str(tmp_path / "pictures" / "one.png")
    # Nothing to see where all is silent.
    assert second["picture"] is None
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["one.png"]


def test_an_existing_picture_is_kept(enhance, wav, make_noisy, tmp_path):  # noqa: F811
    path, picture = wav("talk.wav", make_noisy(0.5)), tmp_path / "talk.png"
    picture.write_bytes(b"mine")
    ran = enhance(path, "--plot", picture)
    assert ran.code == 1
    assert "exists already" in ran.err
    assert picture.read_bytes() == b"mine"
    assert enhance(path, "--plot", picture, "--overwrite").code == 0
    assert picture.read_bytes().startswith(PNG)


def test_noise_without_a_dictionary(enhance, wav, make_noisy, tmp_path):  # noqa: F811
    ran = enhance(wav("x.wav", make_noisy(0.5)), "--noise", "stationary", "--plot", tmp_path / "x.pdf")
    assert ran.code == 0, ran.err
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")


def test_a_baseline_has_nothing_to_show(cli, wav, make_noisy, tmp_path):
    ran = cli("enhance", wav("x.wav", make_noisy(0.5)), "--method", "log-mmse", "--plot", tmp_path / "x.png")
    assert ran.code == 2
    assert "log-mmse does not run" in ran.err


def jobs(tmp_path, *names):
    sources = [Source(name, tmp_path / name, (tmp_path / name).relative_to(tmp_path)) for name in names]
    return [FileJob(source, tmp_path / "out" / source.tree) for source in sources]


def test_a_kept_output_gets_no_picture_and_says_so(enhance, wav, make_noisy, tmp_path):  # noqa: F811
    path, picture = wav("talk.wav", make_noisy(0.5)), tmp_path / "talk.png"
    assert enhance(path).code == 0
    ran = enhance(path, "--plot", picture)
    assert ran.code == 0
    assert "no picture of outputs that are kept (1): --overwrite enhances and makes them" in ran.err
    assert not picture.exists()


def test_names_of_pictures(tmp_path):
    two = jobs(tmp_path, "a/x.wav", "b/x.wav")
    planned = plan_side_files(two, str(tmp_path / "p"), True, PICTURE)
    assert list(planned.values()) == [tmp_path / "p" / "a" / "x.png", tmp_path / "p" / "b" / "x.png"]
    template = plan_side_files(jobs(tmp_path, "x.wav", "y.wav"), str(tmp_path / "{stem}.svg"), True, PICTURE)
    assert list(template.values()) == [tmp_path / "x.svg", tmp_path / "y.svg"]
    for plot in ("one.png", str(tmp_path / "{stem}.png")):
        with pytest.raises(UsageError, match=r"several inputs|replace another"):
            plan_side_files(two, plot, True, PICTURE)
    with pytest.raises(UsageError, match="replace another"):
        plan_side_files(two[:1], str(two[0].source.path), False, PICTURE)


def test_thinning_keeps_the_mean():
    power = np.random.default_rng(0).random((4500, 3))
    thinned = thin(power)
    assert thinned.shape == (1500, 3)
    np.testing.assert_allclose(thinned.mean(0), power.mean(0))
    np.testing.assert_allclose(thin(power[:4499])[-1], power[4497:4499].mean(0))
    np.testing.assert_array_equal(thin(power[:1400]), power[:1400])
