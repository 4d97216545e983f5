"""Speed beside the peers and beside plain layers, as one table of ratios.

scripts/bench peers [--rounds 5]

What is compared takes turns, run by run. A peer that needs other packages gets an environment
under .bench/, made on the first call; its process sleeps while ours works, and ours while it does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import tyro
from _peer import start_peer
from _works import Work, layer_works, scan_both, scan_forward, segment
from timing import interleaved, machine, show
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.lm.attention import attention_mask
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import Block, LanguageModel
from sparsemeta.ops import Address, Segment, scan


@dataclass
class Options:
    """Speed beside the peers."""

    rounds: int = 5
    """Timed rounds; medians are compared."""


@dataclass(frozen=True)
class Bar:
    """Two pieces of work, and what their ratio must reach."""

    quantity: str
    ours: Callable[[], object]
    other: Callable[[], object]
    bar: float
    aim: float
    faster: bool = False
    """The ratio is how many times faster ours is (more is better), not what it costs."""

    def measure(self, rounds: int) -> tuple[float, str]:
        """The ratio; and it in words, with the milliseconds of ours and of the other."""
        seconds = interleaved({"ours": self.ours, "other": self.other}, rounds)
        ours, other = seconds["ours"], seconds["other"]
        ratio = other / ours if self.faster else ours / other
        return ratio, f"{self.text(ratio)} ({ours * 1e3:.3g} : {other * 1e3:.3g})"

    def text(self, ratio: float) -> str:
        """A ratio as people write it."""
        return f"{ratio:.1f}x" if self.faster else f"{ratio:.2f}"

    def reached(self, ratios: list[float]) -> str:
        """Which mark the worst of several ratios reaches."""
        worst = min(ratios) if self.faster else max(ratios)
        for name, mark in (("aim", self.aim), ("bar", self.bar)):
            if worst >= mark if self.faster else worst <= mark:
                return name
        return "no"


def dense() -> Iterator[Bar]:
    """A full key instead of a sparse address: the gated delta rule of today's language models."""
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    shape = (1, 2048, 4, 64)
    every, upstream = torch.arange(64).expand(shape), torch.randn(shape)
    leaves = (
        normalize(torch.randn(shape), dim=-1),
        normalize(torch.randn(shape), dim=-1),
        torch.randn(shape),
        torch.rand(shape[:3]),
        logsigmoid(torch.randn(shape[:3]) + 4),
    )
    query, key, value, rate, decay = (leaf.requires_grad_() for leaf in leaves)

    def ours() -> Tensor:
        scaled = query * 64**-0.5  # as the other does inside
        segment = Segment(Address(every, key), value, rate, decay, Address(every, scaled))
        return scan(segment, slots=64)[0]

    def other() -> Tensor:
        return torch_chunk_gated_delta_rule(
            query, key, value, g=decay, beta=rate, output_final_state=True
        )[0]

    def both(run: Callable[[], Tensor]) -> None:
        torch.autograd.grad(run(), leaves, upstream)

    torch.testing.assert_close(ours(), other())
    quantity = "dense address, K 64, H 4, T 2048, fwd+bwd / transformers"
    yield Bar(quantity, partial(both, ours), partial(both, other), 1.0, 0.7)


def sparse() -> Iterator[Bar]:
    """The compiled loop against the plain one, and a million slots against a thousand."""
    inputs = segment(2**10)
    loop = partial(scan_forward, inputs, "reference")
    yield Bar("scan, N 2^10, fwd / token loop", partial(scan_forward, inputs), loop, 5, 10, True)
    for layered, where in ((True, "product keys"), (False, "random slots")):
        few, many = (segment(slots, layered=layered) for slots in (2**10, 2**20))
        for name, run in (("fwd", scan_forward), ("fwd+bwd", scan_both)):
            quantity = f"scan, N 2^20, {where}, {name} / N 2^10"
            yield Bar(quantity, partial(run, many), partial(run, few), 1.5, 1.2)


def product_key_peer(ask: Callable[[str], None]) -> Iterator[Bar]:
    """The nearest package that runs on a CPU; equal slots, heads, widths, top-k, projections."""
    forward, both, _ = layer_works(65536)
    for name, ours, command in (("fwd", forward, "forward"), ("fwd+bwd", both, "both")):
        quantity = f"layer, N 65536, T 1024, {name} / fwPKM 0.2.2"
        yield Bar(quantity, ours, partial(ask, command), 10, 30, True)


def layers() -> Iterator[Bar]:
    """A memory against a whole decoder block."""
    config = ModelConfig(width=256, heads=4, window=256, mlp_width=1024)
    block = Block(config, memory=False)
    randomise(block)
    for batch in (1, 4):
        x = torch.randn(batch, 512, 256)

        def plain(x: Tensor = x) -> None:
            block.zero_grad()
            attended = attention_mask(config, x[..., 0], carried=0)
            block(x, x, None, None, attended, None, None)[0].square().mean().backward()

        _, memory, _ = layer_works(65536, batch=batch, time=512)
        quantity = f"layer, N 65536, T 512, B {batch}, fwd+bwd / decoder block"
        yield Bar(quantity, memory, plain, 1.0, 0.5)


def reading() -> Iterator[Bar]:
    """One token at a time, T = 1; 32 of them to a run."""
    memory = MemoryConfig(slots=16384, addressing="product")

    def reader(memory_layers: tuple[int, ...]) -> Work:
        model = LanguageModel(ModelConfig(memory_layers=memory_layers, memory=memory), 4096)
        randomise(model)
        tokens = torch.randint(0, 4096, (1, 256))
        with torch.inference_mode():
            _, state = model(tokens)  # fills the window

        @torch.inference_mode()
        def read() -> None:
            nonlocal state
            for token in tokens[:, :32].split(1, dim=1):
                _, state = model(token, state, donate=True)

        return read

    yield Bar("reading one token / the model without memory", reader((1,)), reader(()), 1.25, 1.10)


def randomise(model: nn.Module) -> None:
    """Replace the matrices that start at zero: they are no typical work."""
    for parameter in model.parameters():
        if parameter.dim() == 2 and not parameter.any():
            nn.init.normal_(parameter, std=0.05)


if __name__ == "__main__":
    options = tyro.cli(Options)
    torch.manual_seed(0)
    ask = start_peer()
    rows = []
    for bars in (dense(), sparse(), product_key_peer(ask), layers(), reading()):
        for bar in bars:
            measured = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                ask(f"threads {threads}")
                measured.append(bar.measure(options.rounds))
            ratios, texts = zip(*measured, strict=True)
            sign = ">=" if bar.faster else "<="
            marks = [f"{sign} {bar.text(mark)}" for mark in (bar.bar, bar.aim)]
            rows.append([bar.quantity, *texts, *marks, bar.reached(list(ratios))])
    show(
        f"{machine()}; medians of {options.rounds} runs in turn, float32 (ms : ms)",
        ["quantity", "1 thread", "2 threads", "bar", "aim", "reached"],
        rows,
    )
