"""The adaptive language model: trained, then learning by a forward pass alone while it reads.

    config.py       the recipe, one dataclass per concern; sampling.py how text is written
    text/           sources -> documents -> tokens -> streams
    modelling.py    tokens -> embedding -> [attention -> memory -> MLP] x layers -> logits
    training.py     a recipe -> a run -> checkpoints; adapters.py the recipe of an adapter
    loss.py         what is trained; negatives.py cheaper, optimizer.py by which rule
    reading.py      the one loop: read a segment, score it, and only then learn from it; scores.py
    evaluation/     what may adapt while reading, tuned and compared
    memories.py     models and memories loaded; texts -> a memory file; shown, compared, merged
    generation.py   a prompt -> text; decoding.py many at a time
    compression/    files packed by a model, and unpacked bit for bit
    harness.py      the model as lm-evaluation-harness sees it; hf/ as transformers does

>>> from sparsemeta.lm import compare, load, read_documents  # doctest: +SKIP
>>> found = compare({"demo": load("runs/demo")}, read_documents(["notes"]))  # doctest: +SKIP
>>> print(found.summary())  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
