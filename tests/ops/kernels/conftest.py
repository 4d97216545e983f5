"""Tests of Triton kernels: on a GPU if there is one, else where Python plays one.

Whether it does is read when Triton is first imported, so without a GPU they are collected only with
TRITON_INTERPRET=1: `tests/ops/test_triton.py` runs them so, in a process of their own.
"""

import os

import torch

played = os.environ.get("TRITON_INTERPRET") == "1"
collect_ignore_glob = [] if played or torch.cuda.is_available() else ["test_*.py"]
