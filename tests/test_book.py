"""The book: every chapter has its parts and runs, and the whole builds without a warning and without a network."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from types import FunctionType, ModuleType

import matplotlib
import pytest
from pages import browser, chromium

import minires
from minires.kernels import reference
from minires.source import own_source

DOCS = Path(__file__).parents[1] / "docs"
CHAPTERS = sorted((DOCS / "book").glob("[0-9]*.md"))
CODE = re.compile(r"^```(?:\{code-cell\} )?python\n((?:^:.*\n)*)(.*?)^```$", re.MULTILINE | re.DOTALL)
AN_ANSWER_NEEDS = {  # a setting for code in answers which is not whole by itself
    "10-the-residual-add": "x_shape, C, dy = (2, 3, 4, 4), 3, np.ones((2, 6, 2, 2))",
}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_all_its_parts(chapter):
    text = chapter.read_text(encoding="utf-8")
    for part in ("as a notebook <../_build/notebooks/notebooks/" + chapter.stem, "Before it:", "Reading time:"):
        assert part in text
    assert "**One idea.**" in text and "**The paper.**" in text
    assert text.count("<details><summary>Answer") >= 3, "three exercises with folded answers"
    assert text.count("plt.show()") == text.count("\n:mystnb: {image: {alt: ") > 0, "figures by code, said in words"
    for folder in re.findall(r"`(examples/[^`]*)`", text):
        assert (DOCS.parent / folder).exists()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_the_cells_of_a_chapter_run(chapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    module = ModuleType("__main__")  # classes of a chapter live somewhere that inspect and pickle can look them up
    monkeypatch.setitem(sys.modules, "__main__", module)
    text = chapter.read_text(encoding="utf-8")
    exercises = text.index("## Exercises")
    for found in CODE.finditer(text):
        options, code = found.groups()
        if found.start() > exercises:
            exec(AN_ANSWER_NEEDS.get(chapter.stem, ""), vars(module))
        run = compile(code, chapter.name, "exec")
        if "raises-exception" in options:
            with pytest.raises(Exception):  # noqa: B017  the chapter says which
                exec(run, vars(module))
        else:
            exec(run, vars(module))
    sys.modules["matplotlib.pyplot"].close("all")


def test_a_chapter_shows_the_code_of_the_package_without_long_docstrings():
    shown = own_source(minires.softmax_cross_entropy, reference.conv2d)
    assert "Parameters" not in shown and '"""y = weight @ im2col(x) + bias;' in shown
    compile(shown, "shown", "exec")
    assert shown._repr_markdown_() == f"```python\n{shown}```"


NEEDS_DOCS = pytest.mark.skipif(importlib.util.find_spec("myst_nb") is None, reason="needs pip install -e .[docs]")


def notebook_of(chapter):
    """The notebook that the build makes of a chapter."""
    return run_path(str(DOCS / "conf.py"))["notebook_of"](chapter)


@NEEDS_DOCS
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_is_a_notebook_that_says_how_to_get_minires(chapter):
    import nbformat

    notebook = notebook_of(chapter)
    nbformat.validate(notebook)
    assert "wheel" in notebook.cells[0].source and notebook.cells[1].source.startswith("# %pip install")
    assert not [cell.source for cell in notebook.cells if "{doc}" in cell.source or "{download}" in cell.source]


@pytest.mark.slow
@NEEDS_DOCS
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_the_notebook_of_a_chapter_runs_in_jupyter(chapter, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    notebook = notebook_of(chapter)
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    monkeypatch.delenv("MPLBACKEND")  # figures go into the notebook
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.slow
@NEEDS_DOCS
def test_the_book_builds_without_a_warning_and_without_a_network(tmp_path):
    offline = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", DOCS, tmp_path],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "api.html").read_text("utf-8")
    things = vars(minires).items()
    public = [name for name, thing in things if isinstance(thing, type | FunctionType) and name[0] != "_"]
    assert [name for name in public if not re.search(rf'id="minires[\w.]*\.{name}"', reference)] == ["no_attribute"]
    for page in tmp_path.rglob("*.html"):
        assert not re.search(r'<img[^>]*alt="([^"]*\.png)?"', page.read_text("utf-8")), f"{page.name}: what is shown?"
        loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]*)"', page.read_text("utf-8"))
        assert loaded == [], f"{page.name} loads from elsewhere"
    if chromium():
        with browser(tmp_path / "profile") as look:
            for name in ("book/07-convolution", "book/12-training", "numbers", "api"):
                seen = look(tmp_path / f"{name}.html", 390, 844)
                assert seen.page_width <= seen.width, f"{name}: formulas, tables and code scroll in their own boxes"
                assert seen.broken == []
            light, dark = (look(tmp_path / "book/12-training.html", 1280, 900, d).pixels() for d in (False, True))
            assert dark.mean() < 0.4 < 0.8 < light.mean()
