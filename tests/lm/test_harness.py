"""The harness gives what one forward pass over a whole document gives."""

import json
import warnings
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lm_eval
    import lm_eval.tasks
    from lm_eval.api.instance import Instance

from sparsemeta.errors import ConfigError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.checkpoint import load_model, save_model
from sparsemeta.lm.harness import SparseMetaHarness
from sparsemeta.lm.reading import Reader
from sparsemeta.lm.scores import passages
from sparsemeta.lm.text import ByteTokenizer, Document
from tests.tiny import OUTPUT, tiny_model

TEXTS = ["the fox saw the dog; " * 4, "the dog saw the fox; " * 3]


@pytest.fixture(params=[(), OUTPUT], ids=["hidden", "every"])
def model(request, tmp_path):
    made = tiny_model(output=request.param)
    save_model(tmp_path / "model", made, ByteTokenizer())
    return made


@pytest.fixture
def memory(model, tmp_path):
    reader = Reader(model)
    reader.read(*passages(ByteTokenizer(), [Document("before", "a fox, a dog; " * 5)]))
    reader.memory.save(tmp_path / "memory", model)
    return tmp_path / "memory"


def harness(tmp_path, **options) -> Any:  # the library's decorator hides the type
    made: Any = SparseMetaHarness
    return made(str(tmp_path / "model"), **options)


def ask(kind, *arguments):
    return [Instance(kind, {}, one, i) for i, one in enumerate(arguments)]


def predicted(model, text):
    """The definition: log-probabilities (T, vocabulary) of each byte from one forward pass."""
    with torch.no_grad():
        logits, _ = model(torch.tensor([[256, *text.encode()]]))
    return logits[0, :-1].log_softmax(-1)


def score(model, text, begin=0):
    """Log-likelihood of the bytes from `begin` on, and whether each was the likeliest."""
    rows, ids = predicted(model, text)[begin:], torch.tensor(list(text.encode()[begin:]))
    return rows.gather(1, ids[:, None]).sum().item(), bool((rows.argmax(-1) == ids).all())


@pytest.mark.parametrize("segment", [5, 256])
def test_rolling_is_one_forward_pass(model, tmp_path, segment):
    found = harness(tmp_path, segment=segment).loglikelihood_rolling(
        ask("loglikelihood_rolling", *[(text,) for text in TEXTS]), disable_tqdm=True
    )
    assert found == pytest.approx([score(model, text)[0] for text in TEXTS], rel=1e-5)


def test_rolling_can_carry_the_memory(model, memory, tmp_path):
    requests = ask("loglikelihood_rolling", *[(text,) for text in TEXTS])
    model_, tokenizer = load_model(tmp_path / "model")
    reader = Reader(model_, FastWeights.load(memory, model_))
    texts = passages(tokenizer, [Document("", text) for text in TEXTS])
    expected = [-reader.read(text).nats for text in texts]
    made = harness(tmp_path, memory=str(memory), carry=True)
    assert made.loglikelihood_rolling(requests, disable_tqdm=True) == expected
    assert made.loglikelihood_rolling(requests, disable_tqdm=True) == expected  # begins anew
    alone = harness(tmp_path, memory=str(memory)).loglikelihood_rolling(requests, disable_tqdm=True)
    assert alone[0] == expected[0]
    assert alone[1] != expected[1]


@pytest.mark.parametrize("segment", [3, 256])
def test_continuations_of_one_context(model, tmp_path, segment):
    likeliest = bytes([int(predicted(model, TEXTS[0] + "?")[-1].argmax())]).decode()
    pairs = [(TEXTS[0], more) for more in (" the fox", likeliest, likeliest + "x", " the fox")]
    pairs += [("", "the fox"), ("the dog ", "saw")]
    found = harness(tmp_path, segment=segment).loglikelihood(
        ask("loglikelihood", *pairs), disable_tqdm=True
    )
    begins = [len(TEXTS[0].rstrip())] * 4 + [0, len("the dog")]
    for (context, more), begin, (likelihood, greedy) in zip(pairs, begins, found, strict=True):
        expected = score(model, context + more, begin)
        assert likelihood == pytest.approx(expected[0], rel=1e-5)
        assert greedy == expected[1]
    assert found[0] == found[3]


def test_a_continuation_that_is_greedy(model, tmp_path):
    context, more = "the dog", ""
    for _ in range(3):
        more += chr(int(predicted(model, context + more + "?")[-1].argmax()))
    assert more.isascii()
    (found,) = harness(tmp_path).loglikelihood(
        ask("loglikelihood", (context, more)), disable_tqdm=True
    )
    assert found[1]


def test_generate_until(model, tmp_path):
    made = harness(tmp_path)
    (whole,) = made.generate_until(
        ask("generate_until", ("the dog", {"max_gen_toks": 12})), disable_tqdm=True
    )
    assert whole
    (cut,) = made.generate_until(
        ask("generate_until", ("the dog", {"until": ["\n\n", whole[:1]], "max_gen_toks": 12})),
        disable_tqdm=True,
    )
    assert cut == ""
    sampling = {"do_sample": True, "temperature": 2.0, "top_k": 9, "until": "", "max_gen_toks": 3}
    assert len(made.generate_until(ask("generate_until", ("a", sampling)), disable_tqdm=True)) == 1
    with pytest.raises(ConfigError, match="knows no option num_beams"):
        made.generate_until(ask("generate_until", ("a", {"num_beams": 4})), disable_tqdm=True)


def test_a_task_by_name(model, tmp_path):
    lines = [{"page": text} for text in TEXTS]
    (tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "pages.yaml").write_text(
        f"""
task: pages
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tmp_path}/pages.jsonl}}, cache_dir: {tmp_path}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{page}}}}"
metric_list: [{{metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}}]
"""
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library: Any = lm_eval
        results = library.simple_evaluate(
            model="sparsemeta",
            model_args=f"path={tmp_path}/model,segment=16",
            tasks=["pages"],
            task_manager=lm_eval.tasks.TaskManager(
                include_path=str(tmp_path), include_defaults=False
            ),
            bootstrap_iters=0,
        )
    nats = sum(-score(model, text)[0] for text in TEXTS)
    expected = nats / sum(map(len, TEXTS)) / torch.tensor(2.0).log().item()
    found = results["results"]["pages"]["bits_per_byte,none"]
    assert found == pytest.approx(expected, rel=1e-4)


def test_refusals(model, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="batch_size = 8: a memory adapts"):
        harness(tmp_path, batch_size=8)
    with pytest.raises(ConfigError, match="use_cache finds answers by the text"):
        lm_eval.api.model.CachingLM(harness(tmp_path), str(tmp_path / "cache"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="Run the harness in one process"):
        harness(tmp_path)
