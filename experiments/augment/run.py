"""What a memory is worth to a GPT-2 and a Llama of transformers, beside a cache, LoRA and descent.

    python experiments/augment/bases.py --kind gpt2
    python experiments/augment/run.py --kind gpt2

Memory and LoRA are trained on the half of WikiText-2 that the base has not seen, over as many
tokens, with as many parameters. Then all read WikiText-2's test text, and a piece of each domain,
once. Every piece of the work is kept in `--work`; a run that is stopped goes on. Writes
results.json and results.md beside this file, from all that is there.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from bases import Kind, halves
from transformers import AutoModelForCausalLM

from sparsemeta.lm import CorpusConfig, Document, load, passages, read_documents, train_adapter
from sparsemeta.lm.adapters import AdapterTraining, AugmentRecipe
from sparsemeta.lm.evaluation.adaptations import Cache, Dynamic
from sparsemeta.lm.evaluation.arms import choose_arms
from sparsemeta.lm.evaluation.evaluator import Evaluator, tune
from sparsemeta.lm.hf.pretrained import PretrainedModel
from sparsemeta.lm.scores import Score
from sparsemeta.run import Progress

HERE = Path(__file__).parent
ARMS = ("static", "carried", "document", "cache", "carried+cache")
"""In the order in which they read; then LoRA, and what takes longest."""
LAST = "dynamic"
LORA = "LoRA"
TEXTS = 8
"""A piece of a domain is cut into so many texts, at which one of the memories is emptied."""


@dataclass
class Options:
    """One base."""

    kind: Kind = "gpt2"
    data: Path = Path("data/wikitext-2")
    """The folder of WikiText-2's tokens."""
    domains: Path = Path("data/domains")
    """A folder of files of UTF-8 text."""
    work: Path = Path("runs/augment")
    """Where bases, adapters and results are kept."""
    most: int = 100_000
    """Bytes of each domain that are read, from its start."""
    articles: int = 60
    """Articles of WikiText-2's test text that are read: all."""
    tune_tokens: int = 10_000
    """Tokens of validation text for each point of a grid."""
    lora_rates: tuple[float, ...] = (1e-3, 3e-3)
    """Learning rates of LoRA, of which the validation text chooses one."""
    training: AdapterTraining = field(default_factory=AdapterTraining)
    """Of the memory; LoRA takes streams, segment and steps from it."""

    @property
    def base(self) -> Path:
        """The folder of the base."""
        return self.work / self.kind

    @property
    def adapter(self) -> Path:
        """The run of its memory."""
        return self.work / f"{self.kind}-memory"

    @property
    def results(self) -> Path:
        """What was found so far, of texts of these sizes."""
        return self.work / f"{self.kind}-results-{self.articles}-{self.most}"


def texts(options: Options) -> dict[str, list[Document]]:
    """WikiText-2's test articles, and pieces of the domains, cut at line ends."""
    wikitext = CorpusConfig(wikitext=True)
    test = read_documents([str(options.data / "wiki.test.tokens")], wikitext)
    found = {"wikitext-2": test[: options.articles]}
    for path in sorted(options.domains.glob("*.txt")):
        lines = path.read_bytes()[: options.most].decode(errors="ignore").splitlines(True)
        parts = np.array_split(np.array(lines, dtype=object), TEXTS)
        found[path.stem] = [
            Document(f"{path.stem}#{i}", "".join(part)) for i, part in enumerate(parts)
        ]
    return found


def adapter(options: Options) -> None:
    """Train the memory."""
    half = options.work / "second-half.txt"
    if not half.exists():
        half.write_text("".join(article.text for article in halves(options.data)[1]))
    corpus = CorpusConfig(train=(str(half),), wikitext=True)
    recipe = AugmentRecipe(str(options.base), corpus, training=options.training)
    train_adapter(recipe, options.adapter, progress=Progress())


def lora(options: Options, rate: float) -> PretrainedModel:
    """The base with LoRA of as many parameters, trained over as many tokens; made once."""
    import peft

    kept = options.work / f"{options.kind}-lora-{rate:g}.pt"
    torch.manual_seed(options.training.seed)
    base: Any = AutoModelForCausalLM.from_pretrained(options.base, dtype=torch.float32)
    targets = ["c_attn"] if options.kind == "gpt2" else ["q_proj", "v_proj"]
    config = peft.LoraConfig(r=14, lora_alpha=28, target_modules=targets, fan_in_fan_out=False)
    model = peft.get_peft_model(base, config)
    if kept.exists():
        peft.set_peft_model_state_dict(model, torch.load(kept))
        return PretrainedModel(model.merge_and_unload().eval())
    from sparsemeta.lm.text import Streams, tokenise

    _, tokenizer = load(options.base, "cpu")
    half = read_documents([str(options.work / "second-half.txt")], CorpusConfig(wikitext=True))
    corpus = tokenise(half, tokenizer, options.adapter / "corpus", Progress(quiet=True))
    settings = options.training
    streams = Streams(corpus.tokens, streams=settings.streams, segment=settings.segment)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    print(f"LoRA: {sum(w.numel() for w in weights):,} parameters, rate {rate:g}", flush=True)
    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    began, shape = time.process_time(), replace(settings, learning_rate=rate)
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = shape.rate(step)
        batch = streams.next_batch()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch.tokens, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), batch.targets.flatten()
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(f"LoRA step {step + 1}: {loss.item():.3f}", flush=True)
    torch.save(peft.get_peft_model_state_dict(model), kept)
    note(options, f"lora-{rate:g}", {"cpu_minutes": (time.process_time() - began) / 60})
    return PretrainedModel(model.merge_and_unload().eval())


def note(options: Options, name: str, found: dict[str, Any]) -> None:
    """Keep a result."""
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


def noted(options: Options, name: str) -> dict[str, Any] | None:
    """A result that was kept."""
    path = options.results / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def chosen_arms(options: Options, evaluator: Evaluator, tokenizer: Any) -> dict[str, Any]:
    """The arms, cache and dynamic evaluation tuned on validation text; tuned once."""
    found = noted(options, "tuned")
    if found is None:
        validation = [Document("valid", (options.data / "wiki.valid.tokens").read_text())]
        arms = choose_arms("cache,dynamic", True)
        tuning = passages(tokenizer, validation)
        _, tuned = tune(evaluator, tuning, arms, tokens=options.tune_tokens)
        found = {grid.part: asdict(grid.best.settings) for grid in tuned}
        note(options, "tuned", found)
    settings = [Cache(**found["cache"]), Dynamic(**found["dynamic"])]
    return {str(arm): arm for arm in choose_arms(",".join((*ARMS, LAST)), True, settings)}


def read(evaluator: Evaluator, arm: Any, texts: list[Any]) -> dict[str, float]:
    """Let a model read texts: bits per byte, perplexity, and what it cost."""
    began = time.process_time()
    scores = evaluator.read(arm, texts)
    total = Score.total(scores)
    return {
        "bits": total.bits_per_byte,
        "perplexity": total.perplexity,
        "word_perplexity": total.word_perplexity,
        "tokens": len(total.token_nats),
        "cpu_seconds": time.process_time() - began,
    }


def evaluate(options: Options) -> None:
    """Let all read all, but for what has been read."""
    model, tokenizer = load(options.base, "cpu", adapter=options.adapter)
    training = halves(options.data)[0][:40]
    evaluator = Evaluator(model, tokenizer, training, progress=Progress())
    arms, every = chosen_arms(options, evaluator, tokenizer), texts(options)
    found = {name: passages(tokenizer, documents) for name, documents in every.items()}

    def missing(name: str, reader: Evaluator, arm: Any) -> None:
        for where, passage in found.items():
            if noted(options, f"{where}-{name}") is None:
                print(f"{name} reads {where}", flush=True)
                note(options, f"{where}-{name}", read(reader, arm, passage))

    for name in ARMS:
        missing(name, evaluator, arms[name])
    if noted(options, "cost") is None:
        note(options, "cost", cost(evaluator, arms, found["wikitext-2"][:2]))

    (static,) = choose_arms("static", False)
    valid = [Document("valid", (options.data / "wiki.valid.tokens").read_text()[:200_000])]
    tuning, rate = passages(tokenizer, valid), noted(options, "lora-rate")
    if rate is None:
        bits = {
            each: read(Evaluator(lora(options, each), tokenizer), static, tuning)["bits"]
            for each in options.lora_rates
        }
        rate = {"rate": min(bits, key=lambda each: bits[each]), "bits": list(bits.values())}
        note(options, "lora-rate", rate)
    missing(LORA, Evaluator(lora(options, rate["rate"]), tokenizer), static)
    missing(LAST, evaluator, arms[LAST])


def cost(evaluator: Evaluator, arms: dict[str, Any], texts: list[Any]) -> dict[str, float]:
    """Seconds of the processor for each arm relative to the base, the median of five pairs."""
    names = ("cache", "document", "carried")
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(5):
        base = read(evaluator, arms["static"], texts)["cpu_seconds"]
        for name in names:
            ratios[name].append(read(evaluator, arms[name], texts)["cpu_seconds"] / base)
    return {name: float(np.median(found)) for name, found in ratios.items()}


def table(work: Path) -> None:
    """Write results.json and results.md from all bases that were read."""
    every: dict[str, Any] = {}
    for folder in sorted(work.glob("*-results-*")):
        kept = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
        every[folder.name.partition("-")[0]] = kept
    (HERE / "results.json").write_text(json.dumps(every, indent=2) + "\n")
    columns, lines = ("static", "cache", LAST, LORA, "document", "carried", "carried+cache"), []
    for kind, kept in every.items():
        where = dict.fromkeys(name.removesuffix("-static") for name in kept if "-static" in name)
        lines += [f"**{kind}**, bits per byte:", "", f"| | {' | '.join(columns)} |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for name in sorted(where, key=lambda name: name != "wikitext-2"):
            cells = [kept.get(f"{name}-{column}", {}).get("bits") for column in columns]
            shown = " | ".join("" if x is None else f"{x:.3f}" for x in cells)
            lines.append(f"| {name} | {shown} |")
        costs = kept.get("cost", {})
        shown = " | ".join(f"{costs[c]:.2f}" if c in costs else "" for c in columns)
        lines += [f"| cost | {shown} |", ""]
    (HERE / "results.md").write_text("\n".join(lines))


def main(options: Options) -> None:
    """Train what is missing, read what is missing, and write."""
    torch.set_num_threads(1)
    adapter(options)
    evaluate(options)
    table(options.work)


if __name__ == "__main__":
    main(tyro.cli(Options))
