"""The Python on these pages runs, from top to bottom, as a reader would type it."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
NAMES = ["gradient-checking", "networks", "looking-inside", "weights", "tracing"]
PAGES = [DOCS / f"{name}.md" for name in NAMES]
ROOMS = sorted((DOCS.parent / "minires" / "lab").glob("*/README.md"))
FAMILIES = sorted((DOCS / "networks").glob("*.md"))
WITHOUT_CODE = {"preactivation", "roofline", "shattered"}


def name_of(page):
    return str(page.relative_to(DOCS.parent))


@pytest.mark.parametrize("page", [*PAGES, *FAMILIES, *ROOMS], ids=name_of)
def test_the_code_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks or page.parent.name in WITHOUT_CODE
    exec(compile("\n".join(blocks), page.name, "exec"), {})


@pytest.mark.parametrize("page", [*sorted(DOCS.rglob("*.md")), *ROOMS], ids=name_of)
def test_what_the_page_points_to_exists(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert [t for t in targets if "://" not in t and not page.parent.joinpath(t).exists()] == []


@pytest.mark.parametrize("page", ROOMS, ids=name_of)
def test_the_book_has_the_page_of_every_room(page):
    room = page.parent.name
    assert (DOCS / "lab" / f"{room}.md").read_text().splitlines()[0] == (
        f"```{{include}} ../../minires/lab/{room}/README.md"
    )
    assert f"]({room}.md)" in (DOCS / "lab" / "README.md").read_text() or room == "roofline"
