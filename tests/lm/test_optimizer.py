"""Ways to train better: Muon, a loss from some words, dropout."""

import dataclasses
import signal

import pytest
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.config import TrainingConfig
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.optimizer import parameter_groups
from sparsemeta.lm.training import train
from sparsemeta.run import Interrupted
from tests.lm.runs import MODEL, Signal, assert_same_run, begun, changed, records
from tests.tiny import OUTPUT


def test_weight_decay_is_for_matrices_that_are_not_embeddings():
    model = LanguageModel(MODEL, 257)
    decayed, others = parameter_groups(model, TrainingConfig(weight_decay=0.1))
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    inside = {id(p) for p in decayed["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in inside) == (parameter.ndim >= 2 and name != "embedding.weight")
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))


def test_muon_trains_the_matrices_of_attention_and_mlp():
    model = LanguageModel(dataclasses.replace(MODEL, mlp="swiglu"), 257)
    config = TrainingConfig(matrix_rate=0.02, learning_rate=0.004)
    groups = parameter_groups(model, config)
    names = {weight: name for name, weight in model.named_parameters()}
    parts = {names[p]: group.get("parts") for group in groups for p in group["params"]}
    assert parts.keys() == set(names.values())
    kinds = {"attention.qkv": 3, "attention.output": 1, "mlp.input": 2, "mlp.output": 1}
    for name, found in parts.items():
        assert found == kinds.get(name.removeprefix("blocks.")[2:].removesuffix(".weight"))
    assert {group["share"] for group in groups if "parts" in group} == {5.0}


def test_every_way_to_train_better_is_stopped_and_resumed_exactly(recipe, tmp_path):
    validated = changed(recipe, "corpus", validation=recipe.corpus.train)
    ways = {"matrix_rate": 0.02, "negatives": 60, "dropout": 0.2}
    better = changed(changed(validated, "model", bias=True), **ways, validate_every=3)
    train(better, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(better, tmp_path / "parts", progress=Signal(4, signal.SIGINT))
    train(better, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    losses = [r["loss"] for r in records(tmp_path / "whole") if "loss" in r]
    assert losses[-1] < losses[0]


def test_what_is_dropped_in_training_is_there_when_the_text_is_read(recipe, tmp_path):
    session = begun(changed(recipe, dropout=0.5), tmp_path / "run")
    tokens = torch.arange(12)[None]
    assert not torch.equal(*(session.model(tokens)[0] for _ in range(2)))
    model, _ = load_model(train(changed(recipe, dropout=0.5, steps=1), tmp_path / "run"))
    assert torch.equal(*(model(tokens)[0] for _ in range(2)))


def test_biases_begin_as_shares_of_the_training_text(recipe, tmp_path):
    session = begun(changed(recipe, "model", bias=True), tmp_path / "run")
    tokens = torch.tensor(list((tmp_path / "text.txt").read_bytes()))
    share = session.model.head.bias.exp()
    for letter in b"1s\n":
        there = (tokens == letter).float().mean().item()
        assert share[letter].item() == pytest.approx(there, rel=2e-3)
    assert 0 < share.min() < 1e-3


def test_a_loss_from_some_words_is_not_for_output_memories(recipe):
    with pytest.raises(ConfigError, match=r"training.negatives = 60 .*model.output = \['rows'"):
        changed(changed(recipe, "model", output=OUTPUT), negatives=60)
