"""The book: every chapter has its parts and runs, and the whole builds without a warning and without a network."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import matplotlib
import pytest

DOCS = Path(__file__).parents[1] / "docs"
CHAPTERS = sorted((DOCS / "book").glob("[0-9]*.md"))
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n((?:^:.*\n)*)(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_all_its_parts(chapter):
    text = chapter.read_text(encoding="utf-8")
    for part in ("as a notebook <../_build/notebooks/notebooks/" + chapter.stem, "Before it:", "Reading time:"):
        assert part in text
    assert "**One idea.**" in text and "**The paper.**" in text
    assert text.count("<details><summary>Answer") >= 3, "three exercises with folded answers"
    assert "plt.show()" in text, "a figure made by code"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_the_cells_of_a_chapter_run(chapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    for name in ("IPython", "IPython.display"):  # Jupyter shows source with it; here nobody looks
        stand_in = ModuleType(name)
        stand_in.Code = stand_in.display = stand_in.get_ipython = lambda *args, **kwargs: None
        stand_in.version_info = (9, 0)  # matplotlib asks
        monkeypatch.setitem(sys.modules, name, stand_in)
    module = ModuleType("__main__")  # classes of a chapter live somewhere that inspect and pickle can look them up
    monkeypatch.setitem(sys.modules, "__main__", module)
    for options, code in CELL.findall(chapter.read_text(encoding="utf-8")):
        run = compile(code, chapter.name, "exec")
        if "raises-exception" in options:
            with pytest.raises(Exception):  # noqa: B017  the chapter says which
                exec(run, vars(module))
        else:
            exec(run, vars(module))
    sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("myst_nb") is None, reason="needs pip install -e .[docs]")
def test_the_book_builds_without_a_warning_and_without_a_network(tmp_path):
    offline = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", DOCS, tmp_path],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]*)"', page.read_text("utf-8"))
        assert loaded == [], f"{page.name} loads from elsewhere"
