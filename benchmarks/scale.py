"""What a thousand times more slots cost, in time and memory; and a stream of a million steps.

scripts/bench scale [--rounds 5] [--steps 1000000]

Writes benchmarks/results/scale.png.
"""

import gc
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
import tyro
from _works import Work, filled, layer_works, scan_both, scan_forward, segment
from timing import interleaved, machine, show

from sparsemeta import MemoryConfig, SparseMemory

SLOTS = [2**n for n in range(10, 21, 2)]
PLOT = Path(__file__).with_name("results") / "scale.png"


@dataclass
class Options:
    """Speed and memory from a thousand slots to a million."""

    rounds: int = 5
    """Timed rounds; the median is shown."""
    threads: int = 2
    """Threads that torch may use."""
    steps: int = 1_000_000
    """Steps of the long stream."""


def peak(slots: int) -> tuple[float, float]:
    """What a training segment takes beyond weights and state, in MB; for a fresh process.

    Returns:
        Resident memory at its highest, and what the graph saves for the backward pass.
    """
    torch.manual_seed(0)
    layer_works(SLOTS[0], time=16)[1]()  # loads and compiles what every segment needs
    _, both, kept = layer_works(slots)
    at_rest = {tensor.untyped_storage().data_ptr() for tensor in kept}
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in at_rest:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the highest counts from here
    before = resident("VmRSS")
    both()
    highest = resident("VmHWM")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        both()
    return highest - before, sum(saved.values()) / 1e6


def resident(name: str) -> float:
    """A figure of this process's memory, in MB."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if name in x)
    return int(line.split()[1]) * 1024 / 1e6


def growth(options: Options) -> dict[str, list[float]]:
    """Time and memory by number of slots, shown as a table."""
    works: dict[str, dict[str, Work]] = {}
    for slots in SLOTS:
        inputs, layer = segment(slots), layer_works(slots)
        for name, run in (
            ("scan, forward, ms", partial(scan_forward, inputs)),
            ("scan, fwd+bwd, ms", partial(scan_both, inputs)),
            ("layer, forward, ms", layer[0]),
            ("layer, fwd+bwd, ms", layer[1]),
        ):
            works.setdefault(name, {})[str(slots)] = run
    found = {
        name: [seconds * 1e3 for seconds in interleaved(runs, options.rounds).values()]
        for name, runs in works.items()
    }
    works.clear()
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is freed goes back at once: exact peaks
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        peaks = list(fresh.map(peak, SLOTS))
    found["peak memory, MB"], found["saved for backward, MB"] = map(list, zip(*peaks, strict=True))
    bars = (*["<= 1.5, aim 1.2"] * 4, "<= 1.2, aim flat", "")
    show(
        "The scan of one head, and a layer of D 256, H 4; V 64, A 8, product keys, B 1, T 1024, "
        f"float32, carrying the table; {machine()}, {options.threads} threads, median of "
        f"{options.rounds}. Peak memory of the layer: resident, beyond weights and table, in a "
        "fresh process",
        ["", *(f"2^{n.bit_length() - 1}" for n in SLOTS), "last / first", "bar"],
        [
            [name, *(f"{v:.2f}" for v in values), f"{values[-1] / values[0]:.2f}", bar]
            for (name, values), bar in zip(found.items(), bars, strict=True)
        ],
    )
    return found


def limits(options: Options) -> None:
    """The scan beside what the machine can do: as many rows gathered, memory copied, a product."""
    inputs = segment(2**20, layered=False)
    table = inputs.initial[0, 0]
    rows = torch.randint(
        0, len(table), (2 * inputs.segment.write.index.numel(),)
    )  # as cold as the scan's
    source, target = torch.randn(2, 2**26)
    square = torch.randn(2048, 2048)
    seconds = interleaved(
        {
            "scan, forward": lambda: scan_forward(inputs),
            "index_select of as many rows": lambda: table.index_select(0, rows),
            "copy of 256 MB": lambda: target.copy_(source),
            "matrix product, 2048^3": lambda: square @ square,
        },
        options.rounds,
    )
    (_, time, _, active), width = inputs.segment.write.index.shape, table.shape[1]
    row = width * table.element_size()
    work = {  # bytes moved, operations
        "scan, forward": (time * (3 * active + 2) * row, time * (7 * active + 1) * width),
        "index_select of as many rows": (2 * rows.numel() * row, 0),
        "copy of 256 MB": (2 * source.nbytes, 0),
        "matrix product, 2048^3": (3 * square.nbytes, 2 * 2048**3),
    }
    show(
        "N 2^20, T 1024, A 8, V 64, H 1, random slots, against the machine",
        ["", "ms", "GB/s", "Gflop/s"],
        [
            [name, f"{s * 1e3:.2f}", *(f"{amount / s / 1e9:.1f}" for amount in work[name])]
            for name, s in seconds.items()
        ],
    )


@torch.no_grad()
def values(options: Options) -> None:
    """What it costs that the state passed in stays as it was: a copy of what it holds."""
    rows = []
    for held in (2**10, 2**13, 100_000):
        layer = SparseMemory(256, MemoryConfig(slots=2**20, addressing="product"))
        x = torch.randn(1, 1025, 256)
        _, state = layer(x[:, 1024:], filled(layer, 1, held))  # now it can be searched
        works = {
            f"T {time}, {'donated' if donate else 'kept'}": partial(
                layer, x[:, :time], state, donate=donate
            )
            for donate in (False, True)
            for time in (1, 1024)
        }
        found = interleaved(works, options.rounds)
        rows.append([f"{held:,}", *(f"{seconds * 1e3:.2f}" for seconds in found.values())])
    show(
        f"Of 2^20 slots only those written are held; a layer of D 256, H 4, V 64, {machine()}: ms",
        ["rows held per head", *found],
        rows,
    )


@torch.inference_mode()
def stream(options: Options) -> tuple[list[float], list[float]]:
    """A long stream through a small layer: seconds and largest row norm, per 1000 steps."""
    layer = SparseMemory(32, MemoryConfig(slots=1024, active=4, heads=2, value_width=32))
    state, seconds, norms = None, [], []
    for _ in range(options.steps // 1000):
        x = torch.randn(1, 1000, 32)
        began = time.perf_counter()
        y, state = layer(x, state, donate=True)
        seconds.append(time.perf_counter() - began)
        norms.append(state.layers["memory"].table.norm(dim=-1).max().item())
        if not y.isfinite().all():
            raise SystemExit(f"not finite after {len(norms)} thousand steps")
    part = max(len(norms) // 10, 1)
    ends = {"first": slice(None, part), "last": slice(-part, None)}
    show(
        f"A stream of {options.steps:,} random steps, D 32, H 2, N 1024, A 4, V 32: all finite",
        ["", *(f"{name} tenth" for name in ends)],
        [
            [
                "ms per 1000 steps, median",
                *(f"{median(seconds[p]) * 1e3:.2f}" for p in ends.values()),
            ],
            ["largest norm of a row", *(f"{max(norms[p]):.2f}" for p in ends.values())],
        ],
    )
    return seconds, norms


def draw(found: dict[str, list[float]], seconds: list[float], norms: list[float]) -> None:
    """Write the plot."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (times, memory, long) = pyplot.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
    for name, values in found.items():
        axes = times if name.endswith("ms") else memory
        axes.plot(SLOTS, values, marker="o", label=name)
    for axes in (times, memory):
        axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("slots per head")
        axes.legend()
    times.set_title("a segment of 1024 steps")
    memory.set_title("memory beyond weights and table")
    long.set_title("a long stream")
    long.set_xlabel("thousands of steps")
    long.plot([s * 1e3 for s in seconds], linewidth=0.5, label="ms per 1000 steps")
    long.plot(norms, label="largest norm of a row")
    long.set_ylim(bottom=0)
    long.legend()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=120)


if __name__ == "__main__":
    options = tyro.cli(Options)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    found = growth(options)
    limits(options)
    values(options)
    draw(found, *stream(options))
