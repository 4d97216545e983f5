"""Networks that keep learning while they run, by a forward pass alone.

The public names stand in `__init__.pyi`, once. Each loads what it needs when it is first used:
`import sparsemeta` is free.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
