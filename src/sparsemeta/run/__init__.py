"""What training stands on: devices and processes, folders that survive a kill, log, progress.

It knows nothing of language models. Lightning Fabric is known to `fabric.py` alone.
"""

from sparsemeta.run.checkpoints import newest, prune, step_folders
from sparsemeta.run.fabric import Engine, Precision, Strategy, is_main
from sparsemeta.run.lock import locked
from sparsemeta.run.log import JsonlLog, TensorBoardLog
from sparsemeta.run.optimizer import optimizer_tensors, restore_optimizer
from sparsemeta.run.progress import Progress
from sparsemeta.run.schedule import cosine
from sparsemeta.run.session import Session
from sparsemeta.run.shards import whole
from sparsemeta.run.signals import Interrupted, StopRequest, signals_deferred

__all__ = [
    "Engine",
    "Interrupted",
    "JsonlLog",
    "Precision",
    "Progress",
    "Session",
    "StopRequest",
    "Strategy",
    "TensorBoardLog",
    "cosine",
    "is_main",
    "locked",
    "newest",
    "optimizer_tensors",
    "prune",
    "restore_optimizer",
    "signals_deferred",
    "step_folders",
    "whole",
]
