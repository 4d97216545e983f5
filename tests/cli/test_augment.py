"""`sparsemeta augment` on a folder of transformers, and the other commands with `--adapter`."""

import json
import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from safetensors.torch import load_file

from sparsemeta import load_adapter
from sparsemeta.cli import main
from sparsemeta.lm import Reader, load, load_memory, passages, read_documents, train_adapter
from sparsemeta.lm.adapters import AdapterTraining, AugmentRecipe
from sparsemeta.lm.config import CorpusConfig
from tests.cli.conftest import WINDOW, write_base
from tests.lm.runs import Signal

transformers = pytest.importorskip("transformers")

OPTIONS = ["--corpus.train", "text", "--training.precision", "32-true", "--training.steps", "4"]
OPTIONS += ["--training.streams", "2", "--training.segment", "16", "--training.emptied", "0.2"]
HIDDEN = ["--targets", "h.1", "--memory.slots", "16", "--memory.active", "2", "--memory.heads", "1"]
HIDDEN += ["--memory.key-width", "4", "--memory.value-width", "4"]


@pytest.fixture
def base(project):
    write_base(project / "base")
    return project


def augment(*arguments, out="adapter"):
    return main(["augment", "base", "--out", out, *OPTIONS, *map(str, arguments)])


def refused(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("more", [[], HIDDEN])
def test_from_a_model_to_one_that_remembers(base, capsys, more):
    before = load_file("base/model.safetensors")
    assert augment(*more) == 0
    folder = capsys.readouterr().out.strip()
    assert folder == "adapter/checkpoints/step-000004"
    assert {k: v.tolist() for k, v in load_file("base/model.safetensors").items()} == {
        k: v.tolist() for k, v in before.items()
    }

    adapted = ["base", "--adapter", "adapter"]
    assert main(["evaluate", *adapted, "text/held", "--baseline", "base", "--json", "e.json"]) == 0
    arms = json.loads((base / "e.json").read_text())["arms"]
    nats = {name: arm["total"]["nats"] for name, arm in arms.items()}
    assert nats["static"] == nats["baseline base"]
    assert nats["carried"] < nats["document"] < nats["static"]

    assert main(["read", *adapted, "text/0.txt", "text/1.txt", "--out", "both"]) == 0
    assert main(["read", *adapted, "text/0.txt", "--out", "one"]) == 0
    assert main(["read", *adapted, "text/1.txt", "--memory", "one"]) == 0
    both, one = load_file("both"), load_file("one")
    assert both.keys() == one.keys()
    assert all(torch.equal(both[name], one[name]) for name in both)
    capsys.readouterr()
    prompted = ["--memory", "one", "--prompt", "7 is the", "--tokens", "40", "--greedy"]
    assert main(["generate", *adapted, *prompted, "--out", "after"]) == 0
    assert capsys.readouterr().out.startswith("7 is the ")
    assert main(["memory", "show", "one", "--model", "base", "--adapter", "adapter"]) == 0
    said = capsys.readouterr().out
    assert "which is base" in said
    assert "table memory: the gate now gives" in said
    assert "row memory: rows of" in said


def test_a_text_longer_than_the_window_is_learned_once(base):
    """Also where hidden memories make what the window holds; the memory counts its steps."""
    assert augment(*HIDDEN) == 0
    model, tokenizer = load("base", adapter="adapter")
    (text,) = read_documents(["text/0.txt"], CorpusConfig())
    (passage,) = passages(tokenizer, [text])
    assert len(passage.tokens) > 10 * WINDOW
    reader = Reader(model)
    nats = reader.read(passage).token_nats
    steps = {int(x) for n, x in reader.memory.tensors().items() if n.endswith("steps")}
    assert steps == {len(passage.tokens)}
    # Nothing of it depends on what comes later, or on how the text is cut into segments.
    short = Reader(model, segment=WINDOW // 2).read(passage).token_nats
    assert abs(nats - short).max() < 1e-3


def test_a_run_that_was_stopped_goes_on_bit_for_bit(base, capsys):
    assert augment(*HIDDEN, out="whole") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsemeta.run.Progress", lambda: Signal(2, signal.SIGTERM))
        assert augment(*HIDDEN, out="parts") == 130
    assert "Stopped after step 2 of 4" in capsys.readouterr().err
    assert augment(*HIDDEN, out="parts") == 0
    one, other = (
        load_file(f"{run}/checkpoints/step-000004/adapter_model.safetensors")
        for run in ("whole", "parts")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_base_runs_without_a_graph(base):
    from sparsemeta.lm.hf.training import Adapter, add_memories, load_base

    model, tokenizer = load_base(base / "base")
    training = AdapterTraining(segment=8)
    add_memories(model, tokenizer, AugmentRecipe(model="base", training=training))
    seen = []
    model.lm_head.register_forward_hook(lambda m, args, out: seen.append(args[0].requires_grad))
    tokens = torch.randint(0, 256, (2, 8))
    log_p, _ = Adapter(model)(tokens, tokens, None, None)
    assert seen == [False]
    assert log_p.requires_grad


def test_an_adapter_is_loaded_in_python(base):
    assert augment() == 0
    model = transformers.AutoModelForCausalLM.from_pretrained("base")
    assert load_adapter(model, "adapter/checkpoints/step-000004") is model
    with pytest.raises(ValueError, match="name text to train on"):
        train_adapter(AugmentRecipe(model="base"), "nowhere")
    assert not (base / "nowhere").exists()


def test_what_cannot_be(base, models, capsys):
    assert augment() == 0
    capsys.readouterr()
    write_base(base / "other", seed=1)
    text = "text/0.txt"
    for words, message in (
        (("read", "other", text, "--adapter", "adapter", "--out", "m"), "belongs to another base"),
        (("read", "base", text, "--adapter", "nowhere", "--out", "m"), "nowhere: no adapter"),
        (("read", "base", text, "--out", "m"), "name an --adapter"),
        (
            ("read", "models/tiny", text, "--adapter", "adapter", "--out", "m"),
            "has memories of its own",
        ),
        (("augment", "models/tiny", "--out", "a", *OPTIONS), "transformers cannot read it"),
        (("augment", "nowhere", "--out", "a", *OPTIONS), "nowhere: holds no model"),
        (
            ("augment", "base", "--out", "a", *OPTIONS, "--training.segment", "64"),
            "reads 32 tokens at most",
        ),
        (("augment", "base", "--out", "a", *OPTIONS, "--targets", "h.7"), "no module is called"),
        (("augment", "base", "--out", "a", *OPTIONS, "--output"), "there is nothing to add"),
        (("augment", "base", "--out", "a", "--corpus.train", "none.txt"), "none.txt"),
        (("memory", "show", "m", "--adapter", "adapter"), "--adapter goes with the --model"),
    ):
        said = refused(capsys, *words)
        assert message in said, said
        assert not (base / "a" / "checkpoints").exists()
    assert main(["read", "base", text, "--adapter", "adapter", "--out", "m"]) == 0
    assert augment("--training.seed", 3, out="second") == 0
    said = refused(capsys, "read", "base", text, "--adapter", "second", "--memory", "m")
    assert "belongs to another model" in said
    weights = base / "adapter/checkpoints/step-000004/adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    assert "is not what was saved" in refused(
        capsys, "read", "base", text, "--adapter", "adapter", "--out", "n"
    )
    _, origin = load_memory(None, load("base", adapter="second")[0])
    assert len(origin.fingerprint) == 64
