"""`sparsemeta serve`, as its users meet it."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from sparsemeta.cli import main
from sparsemeta.lm.checkpoint import save_model
from sparsemeta.lm.text.tokenizer import ByteTokenizer
from tests.tiny import OUTPUT, tiny_model

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")


@pytest.fixture
def model(tmp_path):
    save_model(tmp_path / "model", tiny_model(output=OUTPUT), ByteTokenizer())
    return tmp_path / "model"


def started(model):
    """A server in a process of its own, what it said, its address, and its key."""
    words = [sys.executable, "-m", "sparsemeta", "serve", str(model), "--port", "0"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, **options)
    said = ""
    while "listening at" not in said:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said += line
    key = re.search(r"this once: (\S+)", said)
    return process, said, re.search(r"at (http\S+);", said)[1], key and key[1]


def test_what_was_learned_is_there_when_it_is_started_again(model):
    process, _, url, key = started(model)
    headers = {"authorization": f"Bearer {key}"}
    text = {"text": "the cat sat on the mat. " * 3}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        first = http.post("/v1/memories/default/read", json=text).json()
        answer = {"model": "model", "input": "hello", "max_output_tokens": 3}
        named = http.post("/v1/responses", json=answer).json()["id"]
    assert main(["serve", "keys", "list", f"{model}.store"]) == 2  # it is being served
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGTERM)
    assert key not in log
    assert "the cat" not in log
    assert '"route": "/v1/memories/{memory}/read"' in log

    process, said, url, none = started(model)
    assert none is None
    assert "keys" in said
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        body = answer | {"previous_response_id": named}
        assert http.post("/v1/responses", json=body).status_code == 200
        again = http.post("/v1/memories/default/read", json=text).json()
        assert again["nats"] < first["nats"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)


def test_refusals(model, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(model), "--port", port]) == 2
        assert "cannot listen there" in capsys.readouterr().err
    assert main(["serve", str(tmp_path / "nothing")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    save_model(tmp_path / "static", tiny_model(memory_layers=()), ByteTokenizer())
    assert main(["serve", str(tmp_path / "static"), "--port", "0"]) == 2
    assert "has no memory" in capsys.readouterr().err
    assert main(["serve", str(model), "--port", "0", "--rate", "often"]) == 2
    assert "600/minute" in capsys.readouterr().err
    (tmp_path / "bad.jinja").write_text("{% if %}")
    bad = ["--chat-template", str(tmp_path / "bad.jinja")]
    assert main(["serve", str(model), "--port", "0", *bad]) == 2
    assert "chat template" in capsys.readouterr().err
