"""Benchmarks: every learner on a task, trained, tuned and tested alike, over seeds.

registry.py    what there is to bench; to add one is a row here
suite.py       the benchmarks themselves, and the embedding of Omniglot
benchmark.py   Benchmark: what one is: tasks, network, memories, curves, budget
contenders.py  its models, learners that need no training, the oracle; what is measured of them
running.py     `run`: from end to end, gone on with where it stopped
findings.py    what was found, its table and its figure

found = run("digits", quick=True)
rich.print(table(found), summary(found))
plot(found, "digits.png")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
