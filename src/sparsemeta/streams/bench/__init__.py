"""Benchmarks: every learner on a task, trained, tuned and tested alike, over seeds.

registry.py    what there is to bench; to add one is a row here
suite.py       the benchmarks that need no files
characters.py  the one on Omniglot, and its embedding
benchmark.py   Benchmark: what a benchmark is
models.py      the learned models: one network, a memory of each kind
contenders.py  them, learners that need no training, and the oracle
curves.py      recovery after a switch, retention by age
measuring.py   what is measured of a contender
running.py     `run`: from end to end, gone on with where it stopped
report.py      Findings, and their table
plots.py       their figure

found = run("digits", quick=True)
rich.print(table(found), summary(found))
plot(found, "digits.png")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
