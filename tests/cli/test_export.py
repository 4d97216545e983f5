"""`sparsemeta export`, end to end, and the page that explains it."""

import re
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from transformers import AutoModelForCausalLM, AutoTokenizer

import sparsemeta.lm.hf  # noqa: F401
from sparsemeta.cli.commands import export
from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.lm.checkpoint import load_model

ROOT = Path(__file__).parents[2]
TEXT = "the square of 7 is é\n"


def run(*arguments):
    export.main([str(argument) for argument in arguments])


def test_end_to_end(trained, tmp_path, capsys):
    run(trained / "runs/tiny", tmp_path / "out")
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ours, our_tokenizer = load_model(trained / "runs/tiny")

    inputs = tokenizer(TEXT, return_tensors="pt")
    expected = [our_tokenizer.separator, *our_tokenizer.encode(TEXT)]
    assert inputs["input_ids"].tolist() == [expected]
    assert torch.equal(model(**inputs).logits, ours.eval()(torch.tensor([expected]))[0])
    assert model.config.eos_token_id == model.generation_config.eos_token_id == 256
    made = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(made[0], skip_special_tokens=True).startswith(TEXT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_model_without_memory(trained, tmp_path):
    run(trained / "runs/plain", tmp_path / "out")
    assert not AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.memory_layers


def test_no_model(tmp_path):
    with pytest.raises(CheckpointError, match="is not a folder"):
        run(tmp_path / "none", tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_what_stands_there_stays(trained, tmp_path):
    (tmp_path / "kept").write_text("mine")
    for folder in (tmp_path, tmp_path / "kept"):
        with pytest.raises(ConfigError, match="is there already"):
            run(trained / "runs/tiny", folder)
    with pytest.raises(ConfigError, match="cannot be written"):
        run(trained / "runs/tiny", tmp_path / "kept" / "out")
    assert (tmp_path / "kept").read_text() == "mine"


def test_an_empty_folder_is_filled(trained, tmp_path):
    run(trained / "runs/tiny", tmp_path)
    assert (tmp_path / "model.safetensors").is_file()


def test_the_page(trained, tmp_path, monkeypatch, capsys):
    """docs/huggingface.md, its Python in one go."""
    run(trained / "runs/tiny", tmp_path / "demo-hf")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/huggingface.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    names = {}
    exec(code, names)
    assert "the square of 7" in capsys.readouterr().out
    assert names["second"].sequences.shape[1] == names["first"].sequences.shape[1] + 8
    assert names["logits"].isfinite().all()
    assert (tmp_path / "demo.memory").is_file()
