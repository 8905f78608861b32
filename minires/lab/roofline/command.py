"""Measures the most multiply-adds per second that the processor does, and the most bytes per second that memory and
the last cache deliver; then times every operator of a training step and holds it against these limits. In a minute,
while nothing else should run::

    minires lab roofline                                  # resnet-20, batch 128; draws runs/roofline/roofline.png
    MINIRES_NUM_THREADS=1 minires lab roofline            # of one core
    minires lab roofline --net resnet-18 --image-size 224 --batch-size 8
"""

from minires.bench.ours import MiniresWork
from minires.kernels.machine.memory import keep_freed_memory
from minires.lab.experiment import count, positive
from minires.lab.roofline.figure import roofline_figure
from minires.lab.roofline.measure import against_roof, best_rates
from minires.machine import machine


def add_options(parser):
    add = parser.add_argument
    add("--net", default="resnet-20", metavar="NET", help="plain-56, preact-110, ... (default: %(default)s)")
    add("--batch-size", type=positive, default=128, metavar="N", help="images in a step (default: %(default)s)")
    add("--image-size", type=positive, default=32, metavar="PIXELS", help="height and width (default: %(default)s)")
    add("--repeat", type=positive, default=20, metavar="N", help="times of everything (default: %(default)s)")
    add("--memory-mb", type=positive, default=256, metavar="MB", help="far more than a cache (default: %(default)s)")
    add("--cache-mb", type=positive, default=8, metavar="MB", help="more than L2, less than L3 (default: %(default)s)")


def run(lab):
    options = lab.options
    images, trial = (3, options.image_size, options.image_size), (options.repeat, options.memory_mb, options.cache_mb)
    work = MiniresWork(options.net, options.batch_size, images, 10)
    with keep_freed_memory():  # as in train()
        before, rows, after = best_rates(*trial), work.operators(options.repeat), best_rates(*trial)
    rates = {what: max(before[what], after[what]) for what in before}
    limits = {"peak": rates["peak"]}
    limits |= {place: max(rates[f"{place}, read"], rates[f"{place}, add"]) for place in ("memory", "cache")}
    rows, about = [against_roof(row, limits) for row in rows], machine()
    what = f"{options.net}, batch of {options.batch_size} x {'x'.join(map(str, images))}, float32"
    threads = count(about["threads"], "thread")
    where = f"{about['cpu']}, {threads} of {count(about['cores'], 'core')}, {about['kernels']} kernels"
    print("\n".join([what, where, "", *page(rates, rows)]))
    lab.note = (
        f"{what}; {where}. A dot is an operator on images of one shape, its area and the percentages are shares of the "
        "training step; 3x3/2 is a convolution with stride 2. Of a convolution the operations of its definition count: "
        "Winograd's F(4,3) does half of the multiplications, so it may rise above the flat roof, up to the dashed one."
    )
    numbers = {"what": what, "rates": rates, "limits": limits, "operators": rows}
    return {"roofline": roofline_figure(rows, limits, lab.note)}, numbers


def page(rates, rows):
    """What was measured, line by line."""
    for what, rate in rates.items():
        yield f"{what:<13}{rate:>6.0f} {'GFLOP/s' if what == 'peak' else 'GB/s'}"
    yield f"\n{'a training step':<24}{'of':<36}{'share':>7}{'FLOP/byte':>11}{'GFLOP/s':>9}{'GB/s':>6}  of the roof"
    for row in rows:
        line = f"{row['operator']:<24}{row['shape']:<36}{row['share']:>7.1%}"
        if "of_roof" in row:
            line += f"{row['intensity']:>11.2f}{row['gflops_per_s']:>9.0f}{row['gbytes_per_s']:>6.0f}"
            line += f"{row['of_roof']:>6.0%} {row['limit']}"
        yield line
    yield ""
    for limit in ("arithmetic", "memory"):
        under = [row for row in rows if row.get("limit") == limit]
        share, at_roof = sum(row["share"] for row in under), sum(row["share"] * row["of_roof"] for row in under)
        yield f"under the roof of {limit}: {share:.0%} of the step's time; exactly at it, {at_roof:.0%}"
