"""Memory where outcomes are predicted.

types.py           what the row memory's forms speak of: `Outcomes`, `Rows`, `Scores`; the axes
rows.py            the row memory over a table of the rows of classes that came: its entry
rows_reference.py  the same as a plain loop, with a row for every class: the truth
rows_chunked.py    the same, exactly, for a whole segment at once
rows_native.py     a loop compiled for CPUs, for a few steps without a gradient
"""
