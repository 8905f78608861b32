"""docs/contributing.md shows how each kind of thing is added, as a change in one place: here they are made and run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", TEXT, re.M | re.S))


@pytest.mark.skipif(shutil.which("git") is None, reason="applies changes with git")
@pytest.mark.parametrize("section", SECTIONS)
def test_the_change_touches_one_place_and_works(section, tmp_path):
    diff, program = (
        re.search(rf"^```{kind}\n(.*?)^```", SECTIONS[section], re.M | re.S)[1] for kind in ("diff", "python")
    )
    assert len(re.findall(r"^\+\+\+ ", diff, re.M)) == len(re.findall(r"^@@ ", diff, re.M)) == 1
    shutil.copytree(ROOT / "minires", tmp_path / "minires", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "apply", "--recount", "-"], input=diff, text=True, check=True, cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
