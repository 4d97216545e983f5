"""Prequential evaluation: what adapting while reading brings, each token scored before it is read.

adaptations.py  the registry: the memory's life, neural cache, dynamic evaluation; settings
learners.py     the mathematics of the neural cache, and of dynamic evaluation
arms.py         sets of them by name: carried+dynamic
evaluator.py    one model reads the same texts in any arm, whose settings validation text chooses
comparison.py   models and arms side by side, as a table and as plain data
breakdown.py    where they gain: by position in the text, and on which words; drawn
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
