"""Memory for a network that you already have: its modules stay, and are listened to.

    augmenting.py  `augment` and `strip`: hooks on modules, and what they do
    calls.py       a call of the whole network, where a pass begins and ends
    targets.py     which modules, by name, pattern or type; how wide they are
    steps.py       what a module hands out, as steps of streams
    attached.py    what is added to a module: `HiddenMemory`, `OutputMemory`; `Augmentation`
    passes.py      one forward pass of a model: what its memories are told, and what they hand back
    sessions.py    `session`: whose memory it is, for as long as a block lasts
    causal.py      what a forward pass of a causal language model tells its memories
    cache.py       `MemoryCache`: the same as `past_key_values`, so that `generate` carries it
    adapters.py    what was trained, as a folder

>>> from sparsemeta import MemoryConfig, augment, session
>>> import torch
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
>>> model = augment(model, MemoryConfig(slots=16, active=2), targets="0")
>>> with session(model) as s:
...     y = model(torch.randn(3, 4))  # one step of each of three streams
>>> s.memory.batch
3
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
