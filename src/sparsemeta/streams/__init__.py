"""Streams on which sequential adaptation can be shown or refuted, each with its oracle.

Axes: B streams, T steps, C classes.

    stream.py       Stream, Task, Metric: the one interface of all tasks; what a model predicts
    tasks/          the tasks themselves
      rebinding.py  Rebinding: cues whose labels change; a table of the last label of each
      ordered.py    ClassOrdered: images class after class, in one pass; nearest running mean
      images.py     its images: digits, and the handwritten characters of Omniglot
      sine.py       Sine: a wave that jumps; a Bayesian change-point filter

    training.py     meta-training of a `StreamLearner` on a task, in a run that is resumed
    online.py       learning example by example, as River and scikit-learn do it
    learners.py     what a sparse memory is compared with: dense keys, an LSTM, classifiers
    embedding.py    a prototype network: images as vectors
    bench/          `sparsemeta bench`: all of them on a task, over seeds

Every task is frozen settings that `sample` a `Stream` and have an `oracle` for it:

    task = Rebinding(cues=128)
    stream = task.sample(16, torch.Generator().manual_seed(0))
    score(stream, task.oracle(stream))

At step t a learner sees `input[:, t]`, predicts, and is then shown `feedback[:, t]` where
`taught[:, t]`. A stream is drawn on its generator's device, so that one seed of a CPU generator
gives one stream, to be moved to any device.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
