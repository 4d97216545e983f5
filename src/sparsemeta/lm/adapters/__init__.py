"""Memory for causal language models of transformers: trained by a command, read with by the others.

config.py    the recipe: which memories, on what text
training.py  the memories of a frozen model in training
reading.py   a model with an adapter as one that reads
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
