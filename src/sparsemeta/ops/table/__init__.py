"""A table of the rows that were written, and no others.

slots.py    from slots to rows: finds them, claims new ones, and grows
hashing.py  its search, compiled for CPUs
"""
