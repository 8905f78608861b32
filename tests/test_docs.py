"""README and the pages: their Python runs, and what they point to is there.

Commands are run by test_commands.py, chapters of the book by test_book.py, changes in contributing.md by
test_contributing.py.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROOMS = sorted((ROOT / "minires" / "lab").glob("*/README.md"))
WRITTEN = [path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts]
CHAPTERS = [path for path in WRITTEN if path.parent.name == "book"]
EXAMPLES = sorted((ROOT / "examples").rglob("*.md"))
PAGES = [ROOT / "README.md", *WRITTEN, *EXAMPLES, *ROOMS]
FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ELSEWHERE = {*CHAPTERS, DOCS / "contributing.md"}  # run by the tests named above
WITH_CODE = [path for path in PAGES if PYTHON.search(path.read_text("utf-8")) and path not in ELSEWHERE]
SMALLER = {  # what would take hours, or needs a download, in the sizes of a test
    "steps=64_000": "steps=2",
    "steps=1000": "steps=2",
    "load_cifar10()  #": "synthetic(256, 64)  #",
    "= synthetic()": "= synthetic(256, 64)",
    '["runs/cifar10-30m"]), images=64': f"[{str(DOCS / 'cifar10-30m')!r}]), images=0",  # logs without checkpoints
}


def name_of(page):
    return str(page.relative_to(ROOT))


def words_of(text):
    """Without spaces, and without numbers: the last digits differ between machines."""
    return re.sub(r"-?[\d.]+(e[-+]?\d+)?", "0", text).split()


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_python_on_the_page_runs_from_top_to_bottom_and_prints_what_the_page_says(
    page, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    names, printed = {"__name__": "page"}, ""
    for kind, block in re.findall(r"^```(python|text)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        if kind == "text":
            assert words_of(printed) == words_of(block)
            continue
        for text, smaller in SMALLER.items():
            block = block.replace(text, smaller)
        exec(compile(block, page.name, "exec"), names)
        printed = capsys.readouterr().out


def test_the_layer_of_the_readme_is_checked_as_it_says(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = (block for block in PYTHON.findall(text) if "(Layer)" in block)
    (command,) = re.findall(r"bin/minires (check .*)", text)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for folder, source in ((right, code), (wrong, code.replace("self.slope * dy", "dy"))):
        folder.mkdir()
        (folder / "leaky.py").write_text(source, encoding="utf-8")
    results = [
        subprocess.run(
            [sys.executable, "-m", "minires", *shlex.split(command)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        for folder in (right, wrong)
    ]
    assert results[0].returncode == 0, results[0].stderr
    assert results[1].returncode == 1
    assert "ratio 100" in results[1].stdout + results[1].stderr


# -- links -------------------------------------------------------------------------------------------------------


def anchors_of(page):
    """Headings as Sphinx and GitHub write them into addresses."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_the_page_points_to_exists(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lost = []
    for path, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        target = page.parent / path if path else page
        if "://" in path or path.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors_of(target)):
            lost.append(f"{path}#{anchor}")
    for target in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", text):
        if not page.parent.joinpath(target + ".md").exists():
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_the_page_is_in_the_table_of_contents(page):
    name = page.relative_to(DOCS).with_suffix("").as_posix()
    tree = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(encoding="utf-8"), re.DOTALL)
    entries = {line for block in tree for line in block.splitlines() if line and not line.startswith(":")}
    assert name == "index" or name in entries or f"{name.rpartition('/')[0]}/*" in entries


@pytest.mark.parametrize("page", ROOMS, ids=name_of)
def test_the_book_has_the_page_of_every_room(page):
    room = page.parent.name
    assert (DOCS / "lab" / f"{room}.md").read_text().splitlines()[0] == (
        f"```{{include}} ../../minires/lab/{room}/README.md"
    )
    assert f"]({room}.md)" in (DOCS / "lab" / "README.md").read_text() or room == "roofline"
