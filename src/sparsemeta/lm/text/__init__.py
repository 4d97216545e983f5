"""Text: sources -> documents -> tokens -> streams.

corpus.py     what the sources hold, as documents in order; articles, and what is held out
tokenizer.py  text to tokens and back, of three kinds
tokenised.py  a training text as one file of tokens, made once
streams.py    these as streams read side by side, and where a memory begins with nothing
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
