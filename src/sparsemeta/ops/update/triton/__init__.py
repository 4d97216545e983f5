"""The update as Triton kernels, for GPUs; README.md derives them and counts what they cost.

kernels.py  the walk over a segment and the walk back
form.py     how a segment is laid over programs
"""

from sparsemeta.ops.update.triton.form import WALK as WALK
