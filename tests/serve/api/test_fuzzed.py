"""Whatever is sent, the server answers, and never that it failed."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from tests.serve.served import running

schemathesis = pytest.importorskip("schemathesis")

OPERATIONS = 23
"""Fewer would mean that some are not tried."""
OTHERS = ("memory", "previous_response_id", "conversation", "version", "to", "source")
OTHERS += ("max_tokens", "max_output_tokens", "max_completion_tokens")
"""Names of what there is not, and numbers that take long."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("fuzzed") / "store") as up:
        yield up


def sent(http, operation, case, knows):
    """The answer to a request, which, if it knows what there is, names that."""
    path, body = dict(case.path_parameters or {}), case.body
    if knows and "memory" in path:
        path["memory"] = "default"
    if knows and isinstance(body, dict):
        body = body | ({"model": "tiny"} if "model" in body else {})
        body = {k: v for k, v in body.items() if k not in OTHERS}
        body |= {"max_tokens": 3, "max_output_tokens": 3} if "model" in body else {}
    json = isinstance(body, (dict, list, str, int, float, bool))
    return http.request(
        operation.method,
        operation.path.format(**path) if knows else case.formatted_path,
        params={k: v for k, v in (case.query or {}).items() if k != "follow"},
        headers={k: v for k, v in (case.headers or {}).items() if v.isascii()},
        json=body if json else None,
        content=body if isinstance(body, bytes) else None,
    )


def answers(http, asked):
    answer = sent(http, *asked)
    assert answer.status_code < 500, asked
    assert answer.status_code < 400 or answer.json()["error"]["message"]


@pytest.mark.filterwarnings("ignore")  # schemathesis' own
def test_no_request_makes_it_fail(server):
    limits = settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= OPERATIONS
    with server.http() as http:
        for operation in operations:
            knowing = st.sampled_from([True, True, True, False])
            asked = st.tuples(st.just(operation), operation.as_strategy(), knowing)

            def fuzz(asked):
                answers(http, asked)

            limits(given(asked)(fuzz))()


RAW = [
    b"",
    b"{",
    b"null",
    b'"\xff"',
    b'{"model": "tiny", "prompt": "\\ud800"}',
    b'{"model": "tiny", "prompt": "a", "temperature": 1e-300, "max_tokens": 3}',
    b'{"model": "tiny", "prompt": "a", "temperature": NaN}',
    b'{"model": "tiny", "prompt": "a", "top_p": 1e-300, "max_tokens": 3}',
    b'{"model": "tiny", "prompt": "a", "seed": 99999999999999999999}',
    b'{"model": "tiny", "prompt": [], "max_tokens": 1}',
    b'{"model": "tiny", "prompt": [[]], "max_tokens": 1}',
    b'{"model": "tiny", "prompt": [1, "a"], "max_tokens": 1}',
    b'{"model": "tiny", "prompt": "", "max_tokens": 0, "echo": true, "logprobs": 5}',
    b'{"model": "tiny", "prompt": "a", "stop": "", "max_tokens": 1}',
    b'{"model": "tiny", "prompt": "a", "memory": "\\u0000"}',
    b'{"model": "tiny", "prompt": ' + b"[" * 100_000,
    b'{"model": "tiny", "prompt": "a", "max_tokens": 1' + b"0" * 5000 + b"}",
]


@pytest.mark.parametrize("path", ["completions", "chat/completions", "responses"])
@pytest.mark.parametrize("content", RAW, ids=range(len(RAW)))
def test_raw_bodies(server, path, content):
    with server.http(server.key("raw")) as http:
        headers = {"content-type": "application/json"}
        answer = http.post(f"/v1/{path}", content=content, headers=headers)
        assert answer.status_code < 500
        assert answer.status_code == 200 or answer.json()["error"]["message"]


def test_a_body_that_is_too_long_is_refused_before_it_is_read(tmp_path):
    with running(tmp_path / "store", body=0.01, content=0.02) as up, up.http() as http:
        long = {"model": "tiny", "prompt": "a" * 20_000}
        assert http.post("/v1/completions", json=long).status_code == 413

        def endless():
            for _ in range(100):
                yield b"a" * 1000

        headers = {"content-type": "application/json"}
        answer = http.post("/v1/completions", content=endless(), headers=headers)
        assert answer.status_code == 413
        path = "/v1/memories/default/content"
        assert http.put(path, content=b"a" * 15_000).status_code == 400
        assert http.put(path, content=b"a" * 25_000).status_code == 413


def test_whoever_asks_too_often_waits(tmp_path):
    with running(tmp_path / "store", rate="3/minute") as up, up.http() as http, up.http() as other:
        statuses = [http.get("/v1/models").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert int(http.get("/v1/models").headers["retry-after"]) > 0
        assert other.get("/v1/models").status_code == 200
