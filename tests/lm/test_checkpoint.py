import json

import pytest
import safetensors.torch
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import CheckpointError
from sparsemeta.lm.checkpoint import load_model, save_model, write_model
from sparsemeta.lm.config import ModelConfig, TokenizerConfig
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import ByteTokenizer, train_tokenizer
from sparsemeta.run import Checkpoint, checkpoints, newest, weights_of

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


def save(run, step):
    """Write a checkpoint as training does."""
    its = model()
    checkpoints.write(
        run / f"checkpoints/step-{step:06d}",
        {"step": step, "recipe": {"name": "x"}, "facts": {}},
        weights_of(its),
        {"random": {"generator": torch.get_rng_state()}},
        lambda folder: write_model(folder, its.config, ByteTokenizer()),
    )


@pytest.fixture
def run(tmp_path):
    """A run with the checkpoints of steps 5 and 10."""
    for step in (5, 10):
        save(tmp_path / "run", step)
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


def test_an_interrupted_save_leaves_the_old_checkpoint(run, monkeypatch):
    write = safetensors.torch.save_file

    def interrupted(tensors, path, **options):
        write(tensors, path, **options)
        if "training" in str(path):
            raise KeyboardInterrupt

    before = load_model(run)[0].embedding.weight
    monkeypatch.setattr(safetensors.torch, "save_file", interrupted)
    for step in (10, 15):  # one that exists, and one that does not
        with pytest.raises(KeyboardInterrupt):
            save(run, step)
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
        Checkpoint.read(damaged.parent)
    damaged.unlink()
    with pytest.raises(CheckpointError, match=name):
        Checkpoint.read(damaged.parent)


def test_a_damaged_checkpoint_names_the_one_before_it(run, tmp_path):
    folders = [run / "checkpoints/step-000005", run / "checkpoints/step-000010"]
    halve(folders[1] / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        load_model(run)
    assert f"Delete {folders[1]}: then the checkpoint at {folders[0]} " in str(error.value)
    save_model(tmp_path / "alone", model(), ByteTokenizer())
    halve(tmp_path / "alone/model.safetensors")
    with pytest.raises(CheckpointError, match="from a copy, or train the model again"):
        load_model(tmp_path / "alone")


def test_a_path_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a folder"):
        load_model(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="holds no model"):
        load_model(tmp_path)


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    (folder / "digests.json").unlink()  # it was not damaged but changed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 2}, "format 2, but this version of sparsemeta reads format 1"),
        ({"vocab_size": 300}, "tokenizer.json has 257 tokens but the model was trained with 300"),
        ({"model": {"layers": 3, "width": 16}}, "of another model"),
        ({"model": {"layer": 3}}, "did you mean layers"),
        ({"model": None}, "config.json: damaged"),
    ],
)
def test_a_foreign_model_is_refused(tmp_path, values, message):
    save_model(tmp_path, model(), ByteTokenizer())
    change(tmp_path, **values)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)


def test_a_model_of_other_shapes_is_refused_before_it_is_allocated(tmp_path):
    save_model(tmp_path, model(), ByteTokenizer())
    large = {"layers": 2, "width": 1 << 20, "heads": 2, "window": 8, "mlp_width": 1 << 20}
    change(tmp_path, model=large)  # terabytes
    with pytest.raises(CheckpointError, match=r"shape \(16, 16\), but the model needs \(1048576"):
        load_model(tmp_path)


def test_one_byte_changed_is_refused(run):
    file = run / "checkpoints/step-000010/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"is not what was saved.*step-000005 will be used"):
        load_model(run)
