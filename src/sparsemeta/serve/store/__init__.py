"""Where a server keeps memories: thousands of owners, every version, one folder, one process.

    store.py      what can be done with memories: views.py ask, growing.py read on, all else here
    types.py      what there is, as values; rows.py the same in the database; steps.py made
    keys.py       who may
    ledgers.py    what versions have read, and lineage.py what they grew from: both found quickly
    blobs.py      files named by what they hold; database.py everything else, and the lock

A version is immutable and a memory is a name that moves from version to version, as a branch does
in git. A version names its memory file by that file's SHA-256, so that a fork copies nothing.

>>> with Store("runs/mine/store", blueprint) as store:  # doctest: +SKIP
...     owner = store.keys.owner(secret)
...     memory = store.default(owner)
...     step = Step(memory.head.id, content, tokens, moves=memory.head.id)
...     store.commit(owner, memory.id, step)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
