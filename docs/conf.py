"""How Sphinx builds the book: python -m sphinx -W docs docs/_build, without a network."""

import os
import re
import sys
from pathlib import Path

import jupytext

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
os.environ["PYTHONPATH"] = str(HERE.parent)  # the chapters run in processes of their own

project = "minires"
author = "minires contributors"
copyright = "minires contributors, MIT licence"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx-mathjax-offline"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "minires"
html_extra_path = ["_build/notebooks"]
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

# Chapters are run anew when their text or code has changed. An error in one stops the build.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "chapters")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
napoleon_custom_sections = ["Shapes", "Backward", "Attributes", "Environment"]


def write_notebooks(app):
    """Every chapter as an .ipynb file, for Jupyter and Colab."""
    folder = HERE / "_build" / "notebooks" / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for chapter in sorted((HERE / "book").glob("*.md")):
        jupytext.write(jupytext.read(chapter), folder / f"{chapter.stem}.ipynb")


def papers_as_a_list(app, what, name, obj, options, lines):
    """Several docstrings name the same paper; as citations they would collide, so they become plain items."""
    for i, line in enumerate(lines):
        line = re.sub(r"^\.\. \[(\w+)\] ", r"* [\1] ", line)
        lines[i] = re.sub(r"\[(\w+\d{4})\]_", r"[\1]", line)


def pages_of_rooms(app, path, docname, content):
    """A page of the lab lies in its room, beside its pictures; in the book its neighbours are in one folder."""
    content[0] = re.sub(r"\]\(\.\./(\w+)/README\.md", r"](\1.md", content[0]).replace("](../../../docs/", "](../")


def setup(app):
    app.connect("include-read", pages_of_rooms)
    app.connect("builder-inited", write_notebooks)
    app.connect("autodoc-process-docstring", papers_as_a_list)
