import numpy as np
import pytest
import torch

from sparsemeta.errors import ConfigError, StateError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm import generation
from sparsemeta.lm.generation import Writer, as_text, narrowed
from sparsemeta.lm.reading import Reader
from sparsemeta.lm.sampling import Sampling
from sparsemeta.lm.scores import passages
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import BPETokenizer, ByteTokenizer, WordTokenizer
from tests.tiny import OUTPUT, assert_same_state, tiny_model

BYTES = ByteTokenizer()
HARD = "naïve 日本 🙂🙂 e\u0301\n"


@pytest.fixture
def memory():
    reader = Reader(tiny_model(output=OUTPUT))
    reader.read(*passages(BYTES, [Document("a", "abc abd abe " * 9)]))
    return reader.memory


def greedily(model, prompt, tokens):
    """The definition: read everything from the start for each token."""
    ids = [256, *prompt.encode()]
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0][0, -1].argmax()))
    return ids[-tokens:]


@pytest.mark.parametrize(
    ("memory_layers", "output"), [((1,), ()), ((), ()), ((1,), OUTPUT), ((), OUTPUT)], ids=str
)
def test_greedy_is_what_reading_it_all_anew_gives(memory_layers, output):
    model = tiny_model(memory_layers=memory_layers, output=output)
    writer = Writer(model, BYTES, "abc", sampling=Sampling(tokens=30, greedy=True))
    assert list(writer) == greedily(model, "abc", 30)


def test_it_remembers_what_it_writes(memory):
    model = tiny_model(output=OUTPUT)
    kept = memory.clone()
    writer = Writer(model, BYTES, "abc", memory, Sampling(tokens=20, seed=3))
    text = bytes(writer)
    assert len(text) == 20
    assert_same_state(memory, kept, rtol=0, atol=0)
    ids = torch.tensor([[256, *b"abc", *text]])
    state = generation.start(model, memory)
    with torch.no_grad():
        _, after = model(ids, state)
    assert_same_state(writer.state, after, rtol=1e-4, atol=1e-5)
    unlike = Writer(model, BYTES, "abc", None, Sampling(tokens=20, seed=3))
    assert bytes(unlike) != text


def test_a_seed_decides():
    model = tiny_model()
    texts = [list(Writer(model, BYTES, "a", None, Sampling(seed=s))) for s in (1, 1, 2, None, None)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[3] != texts[4]
    assert len(texts[0]) <= 200


@pytest.mark.parametrize(
    ("tokenizer", "written"),
    [(BYTES, [65, 66]), (WordTokenizer(["<eos>", "<unk>", "a"]), [1, 2, 0, 2])],
)
def test_a_separator_ends_a_text_unless_it_is_the_end_of_a_line(monkeypatch, tokenizer, written):
    tokens = iter([65, 66, 256, 67] if tokenizer is BYTES else [1, 2, 0, 2])
    monkeypatch.setattr(generation, "choose", lambda *_: next(tokens))
    model = tiny_model(vocabulary=tokenizer.vocab_size)
    assert list(Writer(model, tokenizer, "a", None, Sampling(tokens=4))) == written


@pytest.mark.parametrize("top_k", [None, 1, 5, 99])
@pytest.mark.parametrize("top_p", [None, 0.01, 0.6, 1.0])
def test_narrowed_as_transformers_does(top_k, top_p):
    warpers = pytest.importorskip("transformers").generation.logits_process
    logits = torch.randn(40)
    expected = warpers.TemperatureLogitsWarper(0.7)(None, logits[None])
    if top_k:
        expected = warpers.TopKLogitsWarper(top_k)(None, expected)
    if top_p:
        expected = warpers.TopPLogitsWarper(top_p)(None, expected)
    found = narrowed(logits, Sampling(temperature=0.7, top_k=top_k, top_p=top_p))
    assert torch.equal(found, expected[0])


def test_only_what_is_left_is_chosen():
    logits, random = torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.Generator().manual_seed(0)
    chosen = [generation.choose(logits, Sampling(top_k=2), random) for _ in range(200)]
    assert set(chosen) == {0, 1}
    share = np.exp(3) / (np.exp(3) + np.exp(2))
    assert chosen.count(0) / 200 == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize(
    "tokenizer", [BYTES, BPETokenizer.train([HARD * 9, "日本語"], 301)], ids=["bytes", "bpe"]
)
def test_characters_are_shown_whole(tokenizer):
    pieces = list(as_text(tokenizer, tokenizer.encode(HARD).tolist()))
    assert "".join(pieces) == HARD
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 5


def test_bytes_that_are_no_character():
    broken = b"a\x80\x80b\xe6\x97\x80c\xf0\x9f\xef\xbf\xbd\xe6\x97"
    pieces = list(as_text(BYTES, broken))
    assert "".join(pieces) == broken.decode(errors="replace")
    assert pieces[0] == "a"
    assert "".join(pieces[:-1]) == broken[:-2].decode(errors="replace")


def test_words_are_shown_with_their_spaces():
    tokenizer = WordTokenizer(["<eos>", "<unk>", "a", "fox"])
    ids = tokenizer.encode("a fox\na fox fox\n").tolist()
    assert "".join(as_text(tokenizer, ids)) == tokenizer.decode(ids)
    assert "".join(as_text(tokenizer, ids[1:], after=ids[:1])) == " fox\na fox fox\n"


def test_refusals(memory):
    for settings in ({"temperature": 0.0}, {"top_k": 0}, {"top_p": 1.5}, {"tokens": -1}):
        with pytest.raises(ConfigError, match=f"^{next(iter(settings))} = .* must"):
            Sampling(**settings)
    with pytest.raises(StateError, match="of 2 streams, but a text is read in one"):
        Writer(tiny_model(), BYTES, "a", FastWeights.concat([memory, memory]))
