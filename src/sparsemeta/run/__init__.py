"""One training run: what every family of models shares when it is trained.

    config.py       the settings that all trainings have, and the learning rate's course
    learner.py      what a family brings: a model, one step of it, and what else to save
    fit.py          the run itself: resume, step, log, validate, save, stop
    checkpoints.py  the one format of checkpoints, written, checked and pruned
    engine.py       a device, a precision, and the processes that train together
    muon.py         an optimizer for matrices, beside AdamW
    log.py          a record of every step: JSON lines, TensorBoard, the terminal

A family writes a `Learner` and hands `fit` a way to make it:

    agent = fit(lambda saved: AgentLearner(recipe, saved), recipe, "runs/agent").model
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
