"""Equations (3)-(5): retain, write, read. One entry, and its forms, which agree exactly.

scan.py       the entry: what it refuses, and the table of forms
reference.py  a plain loop: the truth
chunked.py    parallel over chunks of time
native.py     a compiled loop for CPUs
compact.py    masks and resets, and the rows that a segment touches, for forms that know neither
"""
