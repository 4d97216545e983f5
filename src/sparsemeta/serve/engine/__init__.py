"""One model that reads and writes for many at a time.

tasks.py      what is asked, and what is answered
engine.py     the thread of the model, and the way to it from an event loop
scheduler.py  which tokens are read next
jobs.py       a task while it is being done; spelling.py its text
cohort.py     jobs that write side by side; joining.py those that read so
"""

from sparsemeta.serve.engine.engine import Engine as Engine
from sparsemeta.serve.engine.resuming import empty as empty, reach as reach, resumed as resumed
from sparsemeta.serve.engine.tasks import (
    Choice as Choice,
    Event as Event,
    Finished as Finished,
    Read as Read,
    Snapshot as Snapshot,
    Task as Task,
    Wrote as Wrote,
)
