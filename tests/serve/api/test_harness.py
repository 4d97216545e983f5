"""lm-evaluation-harness, by its own client of completions."""

import pytest

from sparsemeta.lm.checkpoint import save_model
from tests.serve.served import BYTES

pytest.importorskip("tenacity")  # which lm-eval[api] brings
api = pytest.importorskip("lm_eval.models.openai_completions")


@pytest.mark.filterwarnings("ignore")  # the harness' own
def test_likelihoods_are_those_of_a_reading(server, http, tmp_path, monkeypatch):
    from sparsemeta.lm.hf import export

    save_model(tmp_path / "model", server.model, BYTES)
    export(tmp_path / "model", tmp_path / "hf")
    monkeypatch.setenv("OPENAI_API_KEY", http.headers["authorization"].split()[1])
    model = api.LocalCompletionsAPI(
        model="tiny",
        base_url=f"{server.url}/v1/completions",
        tokenizer=str(tmp_path / "hf"),
        tokenizer_backend="huggingface",
        num_concurrent=1,
        max_length=512,
        batch_size=2,
    )
    pairs = [("the cat sat on", " the mat"), ("one two", " three"), ("a", "b")]
    context = [model.tok_encode(text) for text, _ in pairs]
    rest = [model.tok_encode(text, add_special_tokens=False) for _, text in pairs]
    asked = [(pair, *ids) for pair, ids in zip(pairs, zip(context, rest, strict=True), strict=True)]
    found = model._loglikelihood_tokens(asked, disable_tqdm=True)
    for (one, other), (value, _) in zip(pairs, found, strict=True):
        body = {"text": one + other, "store": False}
        read = http.post("/v1/memories/default/read", json=body).json()["tokens"]
        assert value == pytest.approx(-sum(nats for _, nats in read[len(one) :]), rel=1e-3)
