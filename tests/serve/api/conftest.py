"""One server for the tests of a module; each test is another user."""

import pytest

from tests.serve.served import running


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server") / "store") as up:
        yield up


@pytest.fixture
def client(server):
    with server.openai() as client:
        yield client


@pytest.fixture
def http(server, client):
    """The same user as `client`."""
    with server.http(client.api_key) as http:
        yield http
