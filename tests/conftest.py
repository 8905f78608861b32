"""What all tests share: hypothesis draws the same geometries each time, and figures need no screen."""

import os

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
settings.register_profile("minires", deadline=None, derandomize=True, max_examples=50, print_blob=True)
settings.load_profile("minires")


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Runs experiments of the lab in a folder of the test, on a handful of small images; see ``lab_commands.Lab``."""
    from lab_commands import Lab

    return Lab(tmp_path, monkeypatch)
