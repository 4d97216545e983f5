"""The calls of a server: OpenAI's, and those of memories.

app.py           all calls together; service.py what each of them needs
about.py         /v1/models, /health, /metrics
completions.py   /v1/completions;  chat.py /v1/chat/completions;  responses.py /v1/responses
memories.py      /v1/memories, and reading.py into them;  conversations.py /v1/conversations
replies.py       from a turn to an answer;  streaming.py as it is sent
turns.py         a memory goes on with some tokens;  positions.py from where
transcript.py    which tokens a chat that is sent again is;  chats.py its template
access.py        keys, rates, sizes;  journal.py and metrics.py what is noted of it
requests.py      what is asked;  views.py, wording.py and errors.py what is told
"""

from sparsemeta.errors import MissingExtra

try:
    from fastapi import FastAPI as FastAPI
except ImportError:
    raise MissingExtra("fastapi", "serve") from None

from sparsemeta.serve.api.access import Gate as Gate
from sparsemeta.serve.api.app import application as application
from sparsemeta.serve.api.chats import ChatTemplate as ChatTemplate
from sparsemeta.serve.api.metrics import Metrics as Metrics
from sparsemeta.serve.api.positions import Positions as Positions
from sparsemeta.serve.api.service import Service as Service
from sparsemeta.serve.api.turns import Turns as Turns
