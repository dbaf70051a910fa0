"""Old names on the command line: one line on stderr says the new one."""

from __future__ import annotations

import subprocess
import sys
import warnings

LINE = (
    "vae-se: warning: estep.rate is deprecated and will be removed in the next release: use estep.learning_rate"
)


def test_an_old_setting_is_one_line(cli):
    ran = cli("enhance", "--print-config", "--set", "estep.rate=0.03", "--set", "estep.rate=0.02")
    assert ran.code == 0
    assert ran.err.splitlines() == [LINE]
    assert "learning_rate = 0.02" in ran.out


def test_in_a_process_of_its_own(tmp_path):
    (tmp_path / "settings.toml").write_text("[estep]\nrate = 0.03\n")
    command = [sys.executable, "-m", "vae_se", "enhance", "--print-config", "--config", "settings.toml"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.splitlines() == [LINE]
    assert "learning_rate = 0.03" in ran.stdout


def test_other_warnings_and_the_callers_filters_stay(cli):
    show, filters = warnings.showwarning, list(warnings.filters)
    assert cli("enhance", "--print-config").err == ""
    assert warnings.showwarning is show
    assert warnings.filters == filters
