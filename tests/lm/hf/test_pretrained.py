import json

import numpy as np
import pytest
import torch

from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.lm import LanguageModel, evaluate, load, passages, save_model
from sparsemeta.lm.evaluation import all_arms
from sparsemeta.lm.evaluation.breakdown import words_of
from sparsemeta.lm.text import ByteTokenizer
from tests.lm.evaluation.models import TEXT, build, documents
from tests.tiny import OUTPUT, draw_zeros

transformers = pytest.importorskip("transformers")
pretrained = pytest.importorskip("sparsemeta.lm.hf.pretrained")

WINDOW = 24
SMALL = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2}


def configuration(kind):
    if kind == "gpt2":
        return transformers.GPT2Config(
            vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=WINDOW
        )
    if kind == "llama":
        return transformers.LlamaConfig(
            **SMALL, intermediate_size=16, num_attention_heads=2, max_position_embeddings=WINDOW
        )
    return transformers.MambaConfig(**SMALL, state_size=4)  # keeps no keys and values


@pytest.fixture(scope="module")
def tokenizer():
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        ["the fox"],
        tokenizers.trainers.BpeTrainer(
            vocab_size=299, initial_alphabet=sorted(alphabet), special_tokens=["<|end|>"]
        ),
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")


@pytest.fixture(scope="module", params=["gpt2", "llama", "mamba"])
def folder(request, tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    model = transformers.AutoModelForCausalLM.from_config(configuration(request.param))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def nats_of(model, ids):
    """The nats of every token of a sequence but the first, read at once."""
    with torch.no_grad():
        log_p = model.model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return -log_p.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].numpy()


def test_every_token_is_scored_in_the_window_that_the_policy_names(folder):
    model, tokenizer = load(folder)
    ids = [tokenizer.separator, *tokenizer.encode(TEXT).tolist()]
    assert len(ids) > 3 * WINDOW
    reading = evaluate(model, tokenizer, documents(TEXT), arms=["static"], segment=5)["static"]
    found = reading.total.token_nats
    if folder.name.startswith("mamba"):  # its window is longer than the text
        np.testing.assert_allclose(found, nats_of(model, ids), atol=1e-3)
        return
    assert "attention: last 12 to 24 tokens" in reading.policy
    seen, expected = [], []
    for start in range(0, len(ids), 5):
        segment = ids[start : start + 5]
        if len(seen) + len(segment) > WINDOW:
            seen = seen[-WINDOW // 2 :]
        expected.append(nats_of(model, seen + ids[start : start + 6])[len(seen) :])
        seen = seen + segment
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-3)
    assert reading.total.state_bytes > 0


def test_every_arm_without_memory(folder):
    model, tokenizer = load(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    texts, training = documents(TEXT), documents(TEXT[:200])
    readings = evaluate(model, tokenizer, texts, arms=all_arms(False), training=training)
    assert list(readings) == ["static", "cache", "dynamic", "cache+dynamic"]
    nats = {name: reading.total.nats for name, reading in readings.items()}
    assert len(set(nats.values())) == 4
    assert all(np.isfinite(list(nats.values())))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    with pytest.raises(ConfigError, match="needs a memory"):
        evaluate(model, tokenizer, texts, arms=["carried"])


@pytest.mark.parametrize("arm", all_arms(False))
def test_the_future_changes_no_score(folder, arm):
    model, tokenizer = load(folder)
    ids, at = tokenizer.encode(TEXT), 60

    class Changed(pretrained.PretrainedTokenizer):
        def _encode(self, texts, data):
            found = super()._encode(texts, data)
            if texts == [TEXT]:
                found[0][at:] = 7
            return found

    other = Changed(tokenizer._tokenizer, tokenizer.vocab_size)
    one, two = (
        evaluate(model, own, documents(TEXT), arms=[arm], training=documents(TEXT[:100]))
        for own in (tokenizer, other)
    )
    one, two = (found[arm].total.token_nats for found in (one, two))
    assert len(one) == len(ids)
    np.testing.assert_allclose(one[:at], two[:at], atol=1e-4)
    assert (one[at:] != two[at:]).any()


def test_words_can_be_told_apart(tokenizer):
    own = pretrained.PretrainedTokenizer(tokenizer, 300)
    words = words_of(own, documents(TEXT), passages(own, documents(TEXT)))
    assert list(words[0].spellings) == TEXT.split()


def test_a_special_token_in_a_text_is_text(tokenizer):
    own = pretrained.PretrainedTokenizer(tokenizer, 300)
    assert own.separator == 0
    assert 0 not in own.encode("the <|end|> of it")
    assert own.decode(own.encode("the <|end|> of it")) == "the <|end|> of it"


@pytest.mark.parametrize("output", [(), OUTPUT], ids=["hidden", "every"])
def test_an_exported_model_of_ours_is_ours_again(tmp_path, output):
    """How tokens are spelt goes with the weights: the exported tokenizer need not say it."""
    from sparsemeta.lm.hf import export

    model, tokenizer = draw_zeros(build(output=output)), ByteTokenizer()
    save_model(tmp_path / "ours", model, tokenizer)
    export(tmp_path / "ours", tmp_path / "theirs")
    again, own = load(tmp_path / "theirs")
    assert isinstance(again, LanguageModel)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[k], x) for k, x in model.state_dict().items())
    readings = [
        evaluate(m, t, documents(TEXT, "é\n"), arms=["carried"])["carried"]
        for m, t in ((model, tokenizer), (again, own))
    ]
    np.testing.assert_array_equal(*(r.total.token_nats for r in readings))


def test_folders_that_cannot_be_read(tmp_path, tokenizer):
    with pytest.raises(CheckpointError, match=r"holds no model"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no such thing"}))
    with pytest.raises(CheckpointError, match=r"transformers cannot read it .* Give a folder"):
        load(tmp_path)
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(ConfigError, match="neither bos_token nor eos_token"):
        pretrained.PretrainedTokenizer(plain, 300)
