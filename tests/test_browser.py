"""The pages of ``minires report`` and ``minires trace`` in a real browser."""

import numpy as np
import pytest
from pages import browser, chromium
from run_folders import few_images, log, train_two, write_run

from minires.data import batches
from minires.lab.runs import read_runs
from minires.networks import cifar_resnet
from minires.report import inside, report
from minires.report.trace import page
from minires.trace import trace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs chromium, chromium-browser or google-chrome on the PATH"),
]


def test_the_pages_open_on_a_phone_and_on_a_desk(tmp_path, monkeypatch):
    monkeypatch.setattr(inside, "synthetic", few_images)
    for net, depth in (
        ("plain", 20),
        ("plain", 56),
        ("resnet", 56),
        ("a-network-with-a-name-as-long-as-the-way-home", 20),
    ):
        write_run(tmp_path / "runs" / f"{net}-{depth}", log(0.2, 0.3), net=net, depth=depth, seed=0)
    write_run(tmp_path / "runs" / "under-way", log(0.8, 0.8)[:11], "running", net="plain", depth=20, seed=9)
    train_two(tmp_path / "trained")
    command = "minires report " + "a-long-name/" * 30
    made = trace(cifar_resnet(20, rng=0), *next(batches(few_images()[0], 4)), "resnet-20")
    pages = {
        "report": report(read_runs([tmp_path / "runs", tmp_path / "trained"]), images=8, command=command),
        "trace": page(made),
    }
    (tmp_path / "browser").mkdir()
    with browser(tmp_path / "browser") as look:
        for name, text in pages.items():
            path = tmp_path / f"{name} é.html"
            path.write_text(text, encoding="utf-8")
            for width, height in ((360, 740), (1280, 900)):
                for dark in (False, True):
                    seen = look(path, width, height, dark)
                    assert seen.page_width <= seen.width == width, f"{name} scrolls sideways at {width}"
                    assert (seen.broken, seen.requests, seen.complaints) == ([], [], [])
                    assert seen.images == text.count("<img ") > 0
                    shot = seen.pixels()
                    assert shot.shape[:2] == (height, width) and shot.std() > 0.05
                    assert (np.median(shot) < 0.2) == dark


def test_the_browser_sees_a_page_that_is_too_wide_broken_or_not_self_contained(tmp_path):
    image = '<img alt="{}" src="{}">'.format
    broken = image("broken", "data:image/png;base64,AAAA") + image("far", "http://127.0.0.1:9/x.png")
    (tmp_path / "page.html").write_text(f'<div style="width: 2000px">wide</div>{broken}')
    (tmp_path / "browser").mkdir()
    with browser(tmp_path / "browser") as look:
        seen = look(tmp_path / "page.html", 1280, 900)
    assert seen.page_width > 2000 and seen.requests == ["http://127.0.0.1:9/x.png"]
    assert seen.broken == ["broken: broken", "broken: far"] and seen.complaints
