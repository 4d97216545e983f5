"""Files packed by a model that learns from them as it reads, and unpacked bit for bit.

spelling.py     bytes -> tokens -> the same bytes
strands.py      the model at several places of a text at once, one token of each at a time
packed.py       the file: what made it, what is in it; who may unpack it
packing.py      a range coder between the two

>>> from sparsemeta.lm import compress, decompress, load  # doctest: +SKIP
>>> packed = compress(*load("runs/demo", "cpu"), b"bytes")  # doctest: +SKIP
>>> decompress(*load("runs/demo", "cpu"), packed.file)  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
