"""Memory where outcomes are predicted, as far as it is tried: prototypes for a room of `ops`.

tables_reference.py  the table memory, by dictionaries: the truth
tables.py            the same by hash tables, compiled for CPUs (tables_native.py)
contexts.py          addresses: the last n tokens, or bytes
gate_reference.py    a mixture of model and tables whose weights learn while it reads: the truth
gate.py              the same, compiled (gate_native.py)
compiling.py         numba's decorator where it is installed
"""
