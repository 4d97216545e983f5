import json

from sparsemeta.engine import JsonlLog


def test_log_drops_what_is_past_the_step_it_goes_on_from(tmp_path):
    path = tmp_path / "log.jsonl"
    with JsonlLog(path) as log:
        for step in (1, 2, 3):
            log.write({"step": step, "loss": 0.1})
    path.write_text(path.read_text() + '{"step": 4, "lo')
    with JsonlLog(path, step=2) as log:
        log.write({"step": 3, "loss": 0.2})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["step"], r["loss"]) for r in records] == [(1, 0.1), (2, 0.1), (3, 0.2)]
    with JsonlLog(path):
        assert path.read_text() == ""
