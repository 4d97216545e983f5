"""The calls of memories, as versions."""

import pytest

MEMORIES = "/v1/memories"


def read(http, text, memory="default"):
    return http.post(f"{MEMORIES}/{memory}/read", json={"text": text}).json()


def surprise(http, text, memory="default"):
    body = {"text": text, "store": False}
    return http.post(f"{MEMORIES}/{memory}/read", json=body).json()["nats"]


def test_create_list_get_delete(http):
    made = [http.post(MEMORIES, json={"name": f"m{i}"}).json() for i in range(3)]
    page = http.get(MEMORIES, params={"limit": 2}).json()
    rest = http.get(MEMORIES, params={"limit": 2, "after": page["last_id"]}).json()
    assert [m["name"] for m in page["data"] + rest["data"]] == ["m2", "m1", "m0"]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert http.post(MEMORIES, json={"name": "m0"}).status_code == 409
    found = http.get(f"{MEMORIES}/m1")
    assert found.json() == made[1]
    assert found.headers["etag"] == f'"{made[1]["version"]}"'
    assert http.delete(f"{MEMORIES}/m1").json()["deleted"]
    assert http.get(f"{MEMORIES}/m1").status_code == 404


def test_undo_fork_reset(http):
    began = surprise(http, "abcabc")
    first, second = read(http, "abcabc"), read(http, "xyzxyz")
    fork = http.post(f"{MEMORIES}/default/fork", json={"version": first["version"]}).json()
    assert surprise(http, "abcabc", fork["id"]) < began
    back = http.post(f"{MEMORIES}/default/undo", json={}).json()
    assert back["version"] == first["version"] == fork["version"]
    assert back["fingerprint"] == fork["fingerprint"]
    again = http.post(f"{MEMORIES}/default/undo", json={"to": second["version"]}).json()
    assert again["version"] == second["version"]
    empty = http.post(f"{MEMORIES}/default/reset").json()
    assert empty["steps"] == 0
    assert surprise(http, "abcabc") == pytest.approx(began, rel=1e-5)


def test_if_match_guards_the_head(http):
    before = http.get(f"{MEMORIES}/default").headers["etag"]
    read(http, "abc")
    now = http.get(f"{MEMORIES}/default").headers["etag"]
    text = {"text": "abc"}
    for call, body in (
        ("undo", {}),
        ("reset", None),
        ("read", text),
        ("merge", {"other": "default"}),
    ):
        answer = http.post(f"{MEMORIES}/default/{call}", json=body, headers={"if-match": before})
        assert answer.status_code == 412
    assert http.get(f"{MEMORIES}/default").headers["etag"] == now
    answer = http.post(f"{MEMORIES}/default/undo", json={}, headers={"if-match": now})
    assert answer.headers["etag"] == before


def test_download_upload_and_go_on_elsewhere(http, server):
    read(http, "the cat sat on the mat. " * 3)
    content = http.get(f"{MEMORIES}/default/content").content
    body = {"model": "tiny", "prompt": "the cat", "max_tokens": 12, "seed": 4}
    here = http.post("/v1/completions", json=body).json()["choices"]
    with server.http() as other:
        made = other.put(f"{MEMORIES}/default/content", content=content)
        assert made.status_code == 200
        assert other.post("/v1/completions", json=body).json()["choices"] == here
        damaged = content[:-9] + bytes(byte ^ 1 for byte in content[-9:])
        refused = other.put(f"{MEMORIES}/default/content", content=damaged)
        assert refused.status_code == 400
        assert other.get(f"{MEMORIES}/default").json() == made.json()


def test_merge_knows_what_both_do(http):
    for name in ("one", "two"):
        http.post(MEMORIES, json={"name": name})
    read(http, "zorblax is a city. " * 3, "one")
    read(http, "quondor is a land. " * 3, "two")
    before = surprise(http, "quondor is a land. ", "one")
    merged = http.post(f"{MEMORIES}/one/merge", json={"other": "two"})
    assert merged.status_code == 200
    assert surprise(http, "quondor is a land. ", "one") < before
    assert http.get(f"{MEMORIES}/one/versions").json()["data"][0]["kind"] == "merge"


def test_events_tell_what_happened(http):
    read(http, "abc")
    lines = http.get(f"{MEMORIES}/default/events").text.splitlines()
    assert [line[7:] for line in lines if line.startswith("event: ")] == ["create", "read"]


def test_health_and_metrics_need_no_key_and_name_nobody(http, server, client):
    read(http, "abc")
    plain = {"authorization": ""}
    assert http.get("/health", headers=plain).json() == {"status": "ok"}
    shown = http.get("/metrics", headers=plain).text
    assert 'route="/v1/memories/{memory}/read",status="200"' in shown
    assert client.api_key not in shown
    assert "user" not in shown.replace("Users", "")
    assert http.get("/v1/models", headers=plain).status_code == 401
