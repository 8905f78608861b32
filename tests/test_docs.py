"""The Python on these pages runs, from top to bottom, as a reader would type it."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["networks.md", "looking-inside.md", "weights.md", "tracing.md"]
LAB = ["gradient-flow", "layer-responses", "degradation-or-vanishing", "identity", "unravelled-paths", "boosting"]
LAB += ["highway-gates", "depth-and-width", "overfitting", "shortcut-ablation", "loss-landscape"]
PAGES += [f"lab/{name}.md" for name in LAB]


FAMILIES = sorted(f"networks/{path.name}" for path in (DOCS / "networks").glob("*.md"))


@pytest.mark.parametrize("page", PAGES + FAMILIES)
def test_the_code_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {})


@pytest.mark.parametrize("page", sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")))
def test_what_the_page_points_to_exists(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert [t for t in targets if "://" not in t and not (DOCS / page).parent.joinpath(t).exists()] == []
