"""Streams on which sequential adaptation can be shown or refuted, each with its oracle.

Axes: B streams, T steps, C classes.

    stream.py      Stream and Task: the one interface of all tasks; how predictions are scored
    rebinding.py   Rebinding: cues whose labels change; a table of the last label of each
    ordered.py     ClassOrdered: images class after class, in one pass; some may change meaning
    prototypes.py  the nearest running mean of a class: its oracle
    omniglot.py    its images of handwritten characters
    digits.py      its images of digits, bundled with scikit-learn
    sine.py        Sine: a wave that jumps; a Bayesian change-point filter

    training.py    meta-training of a `StreamLearner` on a task, in a run that is resumed
    predictions.py what a model predicts of a stream
    controls.py    dense keys, and an LSTM, in place of a sparse memory
    classifiers.py learners that are not meta-trained: softmax by gradient descent, streaming LDA
    embedding.py   a prototype network: images as vectors
    bench/         `sparsemeta bench`: all of them on a task, over seeds
    plots.py       recovery, retention, and accuracy against write strength

Every task is frozen settings that `sample` a `Stream` and have an `oracle` for it:

    task = Rebinding(cues=128)
    stream = task.sample(16, torch.Generator().manual_seed(0))
    score(stream, task.oracle(stream))

At step t a learner sees `input[:, t]`, predicts, and is then shown `feedback[:, t]` where
`taught[:, t]`. A stream is drawn on its generator's device, so that one seed of a CPU generator
gives one stream, to be moved to any device.
"""

from sparsemeta.streams.digits import read_digits
from sparsemeta.streams.omniglot import read_omniglot
from sparsemeta.streams.ordered import ClassOrdered
from sparsemeta.streams.prototypes import prototypes
from sparsemeta.streams.rebinding import Rebinding
from sparsemeta.streams.sine import Sine
from sparsemeta.streams.stream import Stream, Task, age, exposures, score

__all__ = [
    "ClassOrdered",
    "Rebinding",
    "Sine",
    "Stream",
    "Task",
    "age",
    "exposures",
    "prototypes",
    "read_digits",
    "read_omniglot",
    "score",
]
