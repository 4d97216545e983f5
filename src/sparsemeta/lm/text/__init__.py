"""Text: sources -> documents -> tokens -> streams.

sources.py    what each kind of source holds
corpus.py     a list of sources as documents, in order; articles, and what is held out
tokenizer.py  text to tokens and back; bpe.py and words.py are two of its kinds
tokenised.py  a training text as one file of tokens, made once; manifest.py says of what
streams.py    that file read side by side
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
