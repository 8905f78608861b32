"""How Sphinx builds the book: python -m sphinx -W docs docs/_build/html, without a network."""

import hashlib
import os
import re
import sys
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
os.environ["PYTHONPATH"] = str(HERE.parent)  # the chapters run in processes of their own

project = "minires"
author = "minires contributors"
copyright = "minires contributors, MIT licence"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx-mathjax-offline"]
exclude_patterns = ["jupyter_execute", "_build"]
html_theme = "furo"
html_title = "minires"
html_static_path = ["_static"]
html_css_files = ["book.css"]
(HERE / "_build" / "notebooks").mkdir(parents=True, exist_ok=True)  # write_notebooks fills it; Sphinx looks before
html_extra_path = ["_build/notebooks"]
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3


def source_of_the_package():
    """A name for the package as it is now: chapters show what it prints and how it is written."""
    together = hashlib.sha256()
    for path in sorted((HERE.parent / "minires").rglob("*.py")):
        together.update(path.read_bytes())
    return together.hexdigest()[:12]


# Chapters are run anew when they or the package have changed. An error in one stops the build.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "chapters" / source_of_the_package())
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # such as "compiling kernels", which only the first build says

autodoc_member_order = "bysource"
napoleon_custom_sections = ["Shapes", "Backward", "Attributes", "Environment"]


HOW_TO_RUN = """**To run this notebook** you need minires in the Python that runs it. In Jupyter on your machine, start
Jupyter from the environment in which minires is installed, or take the `#` away below and put there what you have: the
folder of the repository, a wheel (`minires-0.1.0-py3-none-any.whl`), or `git+` and the address of a repository. In
Colab, put the wheel among the files at the left, and do the same. In the text, names such as *lab/flow* are other pages
of the book."""


def notebook_of(chapter):
    """A chapter for Jupyter and Colab: without what only Sphinx understands, and with a way to get minires."""
    notebook = jupytext.read(chapter)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{download\}`[^`]*`\.\s*", "", cell.source)
            cell.source = re.sub(r"\{doc\}`([^`<]+?)\s*<[^`]*>`", r"*\1*", cell.source)
            cell.source = re.sub(r"\{doc\}`(?:\.\./)?([^`]+)`", r"*\1*", cell.source)
    install = [nbformat.v4.new_markdown_cell(HOW_TO_RUN), nbformat.v4.new_code_cell("# %pip install PATH")]
    for place, cell in enumerate(install):
        cell.id = f"install-{place}"
    notebook.cells[:0] = install
    return notebook


def write_notebooks(app):
    """Every chapter as an .ipynb file."""
    folder = HERE / "_build" / "notebooks" / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    chapters = {folder / f"{chapter.stem}.ipynb": chapter for chapter in sorted((HERE / "book").glob("*.md"))}
    for path in set(folder.glob("*.ipynb")) - set(chapters):
        path.unlink()  # of a chapter that has gone
    for path, chapter in chapters.items():
        jupytext.write(notebook_of(chapter), path)


def papers_as_a_list(app, what, name, obj, options, lines):
    """Several docstrings name the same paper; as citations they would collide, so they become plain items."""
    for i, line in enumerate(lines):
        line = re.sub(r"^\.\. \[(\w+)\] ", r"* [\1] ", line)
        lines[i] = re.sub(r"\[(\w+\d{4})\]_", r"[\1]", line)


def pages_of_rooms(app, path, docname, content):
    """A page of the lab lies in its room, beside its pictures; in the book its neighbours are in one folder."""
    content[0] = re.sub(r"\]\(\.\./(\w+)/README\.md", r"](\1.md", content[0]).replace("](../../../docs/", "](../")
    texts_of_pictures(app, docname, content)


def texts_of_pictures(app, docname, content):
    """The text of a picture on one line: where it is broken, Sphinx would put the words together without a blank."""
    content[0] = re.sub(r"!\[[^\]]*\]", lambda found: found[0].replace("\n", " "), content[0])


def setup(app):
    app.connect("include-read", pages_of_rooms)
    app.connect("source-read", texts_of_pictures)
    app.connect("builder-inited", write_notebooks)
    app.connect("autodoc-process-docstring", papers_as_a_list)
