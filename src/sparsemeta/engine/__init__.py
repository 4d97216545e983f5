"""What training stands on: devices and processes, folders that survive a kill, log, progress.

It knows nothing of language models. Lightning Fabric is known to `fabric.py` alone.
"""

from sparsemeta.engine.fabric import Engine, Precision, Strategy, is_main
from sparsemeta.engine.folders import newest, prune, settle, step_folders, write_folder
from sparsemeta.engine.lock import locked
from sparsemeta.engine.log import JsonlLog, TensorBoardLog
from sparsemeta.engine.optimizer import optimizer_tensors, restore_optimizer
from sparsemeta.engine.progress import Progress
from sparsemeta.engine.schedule import cosine
from sparsemeta.engine.session import Session
from sparsemeta.engine.shards import whole
from sparsemeta.engine.signals import Interrupted, StopRequest, signals_deferred

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
    "settle",
    "signals_deferred",
    "step_folders",
    "whole",
    "write_folder",
]
