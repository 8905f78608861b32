"""What all tests share: hypothesis draws the same geometries each time, and figures need no screen."""

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
settings.register_profile("minires", deadline=None, derandomize=True, max_examples=50, print_blob=True)
settings.load_profile("minires")
