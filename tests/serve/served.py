"""A server of a tiny model of bytes on the loopback, in a thread, and clients of it."""

import contextlib
import socket
import threading
import time

import pytest

from sparsemeta.fast_weights import Blueprint
from sparsemeta.lm.text.tokenizer import ByteTokenizer
from sparsemeta.serve import ServeConfig, Served, build
from sparsemeta.serve.engine import empty
from sparsemeta.serve.store import Store
from tests.tiny import OUTPUT, tiny_model

httpx = pytest.importorskip("httpx")
openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
BYTES = ByteTokenizer()


class Running:
    """A server, as its users meet it."""

    def __init__(self, url, store, model, scratch):
        self.url, self.store, self.model, self.scratch = url, store, model, scratch
        self._users = 0

    def key(self, owner=None):
        self._users += 1
        return self.store.keys.add(owner or f"user {self._users}")[1]

    def openai(self, key=None, **options):
        options.setdefault("max_retries", 0)
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key(), **options)

    def http(self, key=None, **options):
        headers = {"authorization": f"Bearer {key or self.key()}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)


@contextlib.contextmanager
def running(folder, *, template=True, model=None, **config):
    """A server, until the end of the block."""
    from sparsemeta.serve.api import ChatTemplate

    model = (model or tiny_model(output=OUTPUT)).eval()
    blueprint = Blueprint.of(model, empty(model))
    with Store(folder, blueprint) as store:
        chat = ChatTemplate(TEMPLATE) if template else None
        served = Served(model, BYTES, blueprint, "tiny", chat)
        config.setdefault("rate", "1000000/minute")
        app = build(served, store, ServeConfig(**config))
        door = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, lifespan="on")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Running(f"http://127.0.0.1:{door.getsockname()[1]}", store, model, folder.parent)
        finally:
            server.should_exit = True
            thread.join()
