"""Equations (3)-(5): retain, write, read. One entry, and its forms, which agree exactly.

scan.py       the entry, and what it refuses
backends.py   the table of forms
operator.py   the update as one operator, for graphs that torch traces
reference.py  a plain loop: the truth
chunked.py    parallel over chunks of time
native.py     a compiled loop for CPUs
triton/       kernels for GPUs
inplace.py    what autograd is told of forms that work in place
compact.py    masks and resets, and the rows that a segment touches, for forms that know neither
"""
