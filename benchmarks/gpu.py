"""On a GPU: the update beside fla's delta rules, a layer beside a decoder block, single tokens.

scripts/bench gpu [--rounds 20]

Where there is no GPU it says so, and measures nothing. fla-core is installed under .bench/ on the
first call; where that cannot be, its rows are left out.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from _device import Taken, measure
from timing import show
from torch import Tensor, nn
from torch.nn.functional import normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import installed
from sparsemeta.lm.attention import attention_mask
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import Block, LanguageModel
from sparsemeta.lm.state import LMState
from sparsemeta.nn import SparseMemory
from sparsemeta.ops import Address, Segment, scan

ROOT = Path(__file__).resolve().parents[1]
FLA = "fla-core==0.6.0"
TOKENS, HEADS, WIDTH, ACTIVE = 2**15, 4, 64, 8
"""Of every row: tokens in all, heads, V and A."""
BANDWIDTH = {"H200": 4.8e12, "H100": 3.35e12}
"""Bytes per second, by the data sheet (SXM)."""
Ask = Callable[..., tuple[Taken, Taken]]


@dataclass
class Options:
    """Speed and memory on a GPU."""

    rounds: int = 20
    """Timed rounds; the median is shown."""


def start_fla() -> Ask | None:
    """The peers in a process of their own, with our torch; None where they cannot be had."""
    folder = ROOT / ".bench" / "fla"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        if subprocess.run([*pip, FLA], check=False).returncode:
            return None
        (folder.parent / ".gitignore").write_text("*\n")
    command = [sys.executable, Path(__file__).with_name("_fla.py")]
    pipe, where = subprocess.PIPE, os.environ | {"PYTHONPATH": str(folder)}
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=where)

    def ask(name: str, *numbers: int) -> tuple[Taken, Taken]:
        assert process.stdin
        assert process.stdout
        print(name, *numbers, file=process.stdin, flush=True)
        answer = process.stdout.readline().split()
        if len(answer) != 4:
            raise SystemExit(f"{FLA} stopped at {name}; its error is above")
        forward, peak, both, most = map(float, answer)
        return Taken(forward, int(peak)), Taken(both, int(most))

    return ask


def touched(backward: bool) -> int:
    """Bytes that a step of a head must move, all rows new to it (`ops/update/triton/README.md`)."""
    rows, others = ACTIVE * WIDTH * 4, 8 * WIDTH + 24 * ACTIVE + 8
    return 8 * rows + 2 * others if backward else 2 * rows + others


def segment(batch: int, time: int, slots: int, device: str) -> Segment:
    """Random addresses that are written where they were read, as a layer does."""
    like: dict[str, Any] = {"device": device}
    index = torch.randint(0, slots, (batch, time + 1, HEADS, ACTIVE), **like)
    weight = normalize(torch.rand(index.shape, **like), dim=-1)
    write, read = (
        Address(index[:, part], weight[:, part].clone().requires_grad_())
        for part in (slice(None, -1), slice(1, None))
    )
    shape = batch, time, HEADS
    value = torch.randn(*shape, WIDTH, **like).requires_grad_()
    rate, kept = torch.rand(shape, **like), -0.1 * torch.rand(shape, **like)
    return Segment(write, value, rate.requires_grad_(), kept.requires_grad_(), read)


def updates(options: Options, ask: Ask | None, device: str) -> Iterator[list[str]]:
    """The update alone, by T and by N, and the dense rules of equal heads, width and tokens."""
    peak = next((b for name, b in BANDWIDTH.items() if name in torch.cuda.get_device_name()), None)
    forms = [form for form in ("triton", "chunked") if form != "triton" or installed("triton")]
    for time, slots in ((2048, 2**10), (2048, 2**20), (8192, 2**10), (32768, 2**10)):
        batch = TOKENS // time
        for form in forms:
            given = segment(batch, time, slots, device)
            table = torch.zeros(batch, HEADS, slots, WIDTH, device=device)
            run = partial(scan, given, slots=slots, initial=table, donate=True, backend=form)

            def forward(run=run) -> None:
                with torch.no_grad():
                    run()

            def both(run=run) -> None:
                run()[0].sum().backward()

            pair = measure(forward, options.rounds), measure(both, options.rounds)
            shares = "no data sheet"
            if peak:
                moved = (TOKENS * HEADS * touched(backward) for backward in (False, True))
                parts = zip(moved, pair, strict=True)
                shares = ", ".join(f"{b / peak / x.milliseconds * 1e5:.0f} %" for b, x in parts)
            yield _row(f"{form}, B {batch}, T {time}, N 2^{slots.bit_length() - 1}", pair, shares)
        for name in ("deltanet", "gdn", "kda") if ask and slots == 2**10 else ():
            assert ask
            pair = ask(name, batch, time, HEADS, WIDTH, options.rounds)
            yield _row(f"fla {name}, B {batch}, T {time}", pair, "")


def layers(options: Options, device: str) -> Iterator[list[str]]:
    """A layer of two sizes, and a decoder block of its width."""
    width, batch, time = 512, 16, 2048
    x = torch.randn(batch, time, width, device=device)

    def row(name: str, module: nn.Module, run: Callable[[], Tensor]) -> list[str]:
        randomise(module)

        def forward() -> None:
            with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                run()

        def both() -> None:
            module.zero_grad()
            with torch.autocast(device, torch.bfloat16):
                y = run()
            y.float().square().mean().backward()

        pair = measure(forward, options.rounds), measure(both, options.rounds)
        return _row(f"{name}, D {width}, B {batch}, T {time}", pair, "")

    for slots in (2**10, 2**20):
        sizes = {"heads": HEADS, "value_width": WIDTH, "active": ACTIVE, "addressing": "product"}
        layer = SparseMemory(width, MemoryConfig(slots=slots, **sizes)).to(device)
        state = layer.initial_state(batch)

        def run(layer: SparseMemory = layer) -> Tensor:
            nonlocal state
            y, state = layer(x, state.detach(), donate=True)
            return y

        yield row(f"layer, N 2^{slots.bit_length() - 1}", layer, run)
    config = ModelConfig(width=width, heads=8, window=256, mlp_width=4 * width)
    block = Block(config, memory=False).to(device)
    mask = attention_mask(config, x[..., 0], carried=0)
    yield row("decoder block", block, lambda: block(x, x, None, None, mask, None, None)[0])


def reading(options: Options, device: str) -> Iterator[list[str]]:
    """One token at a time: each operation launched, and as one CUDA graph."""
    for name, memory_layers in (("with memory", (1, 3)), ("without", ())):
        sizes = {"slots": 2**14, "heads": HEADS, "addressing": "product"}
        config = ModelConfig(memory_layers=memory_layers, memory=MemoryConfig(**sizes))
        model = LanguageModel(config, 4096).to(device)
        randomise(model)
        tokens = torch.randint(0, 4096, (1, config.window), device=device)
        with torch.no_grad():
            _, state = model(tokens)  # fills the window
        step = partial(one_token, model, tokens[:, :1], state)
        plain = measure(step, 10 * options.rounds)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        pair = plain, measure(graph.replay, 10 * options.rounds)
        yield _row(f"one token, 4 blocks of 256, {name}: launched, graph", pair, "")


@torch.no_grad()
def one_token(model: LanguageModel, token: Tensor, state: LMState) -> Tensor:
    """Read a token, and leave the state where it was."""
    logits, after = model(token, state, donate=True)
    for name, tensor in after.tensors().items():
        kept = state.tensors()[name]
        if kept.data_ptr() != tensor.data_ptr():
            kept.copy_(tensor)
    return logits


def randomise(module: nn.Module) -> None:
    """Replace the matrices that start at zero: they are no typical work."""
    for parameter in module.parameters():
        if parameter.dim() == 2 and not parameter.any():
            nn.init.normal_(parameter, std=0.05)


def _row(name: str, pair: tuple[Taken, Taken], share: str) -> list[str]:
    times = [f"{taken.milliseconds:.3f}" for taken in pair]
    return [name, *times, f"{pair[1].peak / 2**20:,.0f}", share]


def main(options: Options) -> None:
    """Print the table, or say that there is no GPU."""
    if not torch.cuda.is_available():
        raise SystemExit(
            f"scripts/bench gpu: torch {torch.__version__} sees no CUDA GPU here, so nothing was "
            "measured. Run it on a machine with one, and a build of torch for CUDA."
        )
    torch.manual_seed(0)
    ask = start_fla()
    rows = [*updates(options, ask, "cuda"), *layers(options, "cuda"), *reading(options, "cuda")]
    show(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; medians of {options.rounds}; "
        f"the update of {TOKENS:,} tokens, H {HEADS}, V {WIDTH}, A {ACTIVE}, float32, beside dense "
        f"rules in bfloat16 ({FLA if ask else 'fla-core could not be installed'})",
        ["", "forward, ms", "forward + backward, ms", "peak MB", "share of bandwidth"],
        rows,
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
