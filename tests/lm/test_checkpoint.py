import json

import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import CheckpointError
from sparsemeta.lm import checkpoint
from sparsemeta.lm.checkpoint import (
    TrainingState,
    load_model,
    load_training,
    save_checkpoint,
    save_model,
)
from sparsemeta.lm.config import ModelConfig, TokenizerConfig
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import ByteTokenizer, train_tokenizer
from sparsemeta.run import newest

CONFIG = ModelConfig(
    layers=2,
    width=16,
    heads=2,
    window=8,
    mlp_width=16,
    memory_layers=(1,),
    memory=MemoryConfig(slots=16, active=2, heads=1, key_width=8, value_width=8),
)


def model(config=CONFIG):
    return LanguageModel(config, ByteTokenizer().vocab_size)


def training(step, **tensors):
    return TrainingState(
        step=step, seconds=1.5, position=64, corpus="f00d", recipe={"name": "x"}, tensors=tensors
    )


@pytest.fixture
def run(tmp_path):
    """A run with the checkpoints of steps 5 and 10."""
    for step in (5, 10):
        save_checkpoint(tmp_path / "run/checkpoints", model(), ByteTokenizer(), training(step))
    return tmp_path / "run"


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_model_folder_reads_back_the_same(tmp_path):
    documents = [Document("a", "the cat sat on the mat. " * 20)]
    tokenizer = train_tokenizer(TokenizerConfig(vocabulary=270), documents)
    saved = LanguageModel(CONFIG, tokenizer.vocab_size)
    save_model(tmp_path / "model", saved, tokenizer)
    loaded, its_tokenizer = load_model(tmp_path / "model")
    assert loaded.config == CONFIG
    tokens = torch.from_numpy(tokenizer.encode("the mat sat on the cat")).long()[None]
    assert its_tokenizer.encode("the mat sat on the cat").tolist() == tokens[0].tolist()
    assert torch.equal(loaded(tokens)[0], saved(tokens)[0])
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["config.json", "digests.json", "model.safetensors", "tokenizer.json"]


def test_a_run_folder_means_its_newest_checkpoint(run):
    newest_model = load_model(run / "checkpoints/step-000010")[0]
    assert torch.equal(load_model(run)[0].embedding.weight, newest_model.embedding.weight)


def test_training_reads_back_bit_for_bit_and_only_two_are_kept(run):
    tensors = {
        "optimizer": {"0.exp_avg": torch.randn(3, 2)},
        "stream": {"window.0.k": torch.randn(2, 4).bfloat16().t(), "steps": torch.arange(2)},
        "random": {"generator": torch.get_rng_state()},
    }
    saved = training(15, **tensors)
    folder = save_checkpoint(run / "checkpoints", model(), ByteTokenizer(), saved)
    loaded = load_training(folder)
    assert loaded.tensors.keys() == tensors.keys()
    for group, named in tensors.items():
        for name, value in named.items():
            assert loaded.tensors[group][name].dtype == value.dtype
            assert torch.equal(loaded.tensors[group][name], value)
    assert (loaded.step, loaded.seconds, loaded.position) == (15, 1.5, 64)
    assert (loaded.corpus, loaded.recipe) == ("f00d", {"name": "x"})
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert kept == ["step-000010", "step-000015"]


def test_a_model_without_state_saves_an_empty_one(run):
    loaded = load_training(run / "checkpoints/step-000005")
    assert loaded.tensors == {"optimizer": {}, "stream": {}, "random": {}}


def test_an_interrupted_save_leaves_the_old_checkpoint(run, monkeypatch):
    write = checkpoint.safetensors.torch.save_file

    def interrupted(tensors, path, **options):
        write(tensors, path, **options)
        if "training" in str(path):
            raise KeyboardInterrupt

    before = load_model(run)[0].embedding.weight
    monkeypatch.setattr(checkpoint.safetensors.torch, "save_file", interrupted)
    for step in (10, 15):  # one that exists, and one that does not
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(run / "checkpoints", model(), ByteTokenizer(), training(step))
    assert newest(run / "checkpoints") == run / "checkpoints/step-000010"
    assert torch.equal(load_model(run)[0].embedding.weight, before)
    assert len(list((run / "checkpoints").iterdir())) == 2


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_model_is_refused_by_name(run, name):
    damaged = run / "checkpoints/step-000010" / name
    halve(damaged)
    with pytest.raises(CheckpointError) as error:
        load_model(run)
    assert str(damaged) in str(error.value)
    damaged.unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(run)


@pytest.mark.parametrize("name", ["training.json", "training.safetensors"])
def test_a_damaged_training_state_is_refused_by_name(run, name):
    damaged = run / "checkpoints/step-000010" / name
    halve(damaged)
    with pytest.raises(CheckpointError, match=name):
        load_training(damaged.parent)
    damaged.unlink()
    with pytest.raises(CheckpointError, match=name):
        load_training(damaged.parent)


def test_a_damaged_checkpoint_names_the_one_before_it(run, tmp_path):
    folders = [run / "checkpoints/step-000005", run / "checkpoints/step-000010"]
    halve(folders[1] / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        load_model(run)
    assert f"Delete {folders[1]}: then the checkpoint at {folders[0]} " in str(error.value)
    save_model(tmp_path / "alone", model(), ByteTokenizer())
    halve(tmp_path / "alone/model.safetensors")
    with pytest.raises(CheckpointError, match="copy or train the model again"):
        load_model(tmp_path / "alone")


def test_a_path_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a folder"):
        load_model(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="holds no model"):
        load_model(tmp_path)


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 2}, "format 2, but this version of sparsemeta reads format 1"),
        ({"vocab_size": 300}, "tokenizer.json has 257 tokens but the model was trained with 300"),
        ({"model": {"layers": 3, "width": 16}}, "does not fit config.json"),
        ({"model": {"layer": 3}}, "did you mean layers"),
        ({"model": None}, "config.json: cannot be used"),
    ],
)
def test_a_foreign_model_is_refused(tmp_path, values, message):
    save_model(tmp_path, model(), ByteTokenizer())
    change(tmp_path, **values)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)
