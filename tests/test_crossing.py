"""When a deeper net gets ahead, read from logs."""

import json

import numpy as np
import pytest
from lab_commands import refused

from minires.lab.crossing.measure import Stretch, passes, stretches


def log_of(errors, images=1000):
    return [{"kind": "train", "step": 10 * (i + 1), "error": e, "images": images} for i, e in enumerate(errors)]


def test_the_step_where_the_deeper_net_gets_ahead_is_found():
    shallow, deep = log_of([0.5] * 8), log_of([0.6, 0.6, 0.55, 0.5, 0.45, 0.4, 0.4, 0.4])
    found = stretches([shallow], [deep], first=20, factor=2)
    assert [(row.first, row.last) for row in found] == [(0, 20), (20, 40), (40, 80)]
    assert [row.ahead for row in found] == [-1, 0, 1] and passes(found) == 80
    assert found[0].noise == pytest.approx(np.sqrt((0.24 + 0.25) / 2000))
    seeds = stretches([shallow, log_of([0.7] * 8)], [deep, deep], first=20, factor=2)
    assert seeds[2].ahead == 0  # the seeds of the shallow net differ by more
    assert passes([Stretch(0, 9, 0.5, 0.5, 0.01)]) is None
    with pytest.raises(ValueError, match="got an empty one"):
        stretches([[]], [deep])


def test_the_command_that_finds_the_crossing_reads_runs(lab, capsys):
    for depth, errors in ((8, [0.5, 0.5]), (14, [0.6, 0.4])):
        folder = lab.folder / "runs" / f"resnet-{depth}-seed0"
        folder.mkdir(parents=True)
        about = {"config": {"net": "resnet", "depth": depth, "seed": 0, "data": "noise"}, "sessions": []}
        (folder / "run.json").write_text(json.dumps(about))
        (folder / "log.jsonl").write_text("\n".join(map(json.dumps, log_of(errors))) + "\n")
    assert lab.run("crossing runs --first 10 --out out") == 0
    assert "resnet-14 passes resnet-8 by step 20, of one seed." in capsys.readouterr().out
    assert lab.numbers["resnet-8 and resnet-14"]["passes"] == 20
    assert refused(capsys, lab.run("crossing runs --nets plain --out out"), "expected runs of one net in two depths")
