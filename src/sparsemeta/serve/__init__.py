"""One model served to many, each with a memory of his own.

config.py    the settings of a server; running.py brings it up
engine/      continuous batching: who reads and who writes next
store/       memories as versions, in one folder
api/         the calls: OpenAI's, and those of memories
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
