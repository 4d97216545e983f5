"""The update as Triton kernels, for GPUs; README.md derives them and counts what they cost.

kernels.py  the walk over a segment and the walk back
form.py     how a segment is laid over programs
"""
