"""Memory where outcomes are predicted.

types.py           what the row memory's forms speak of: `Outcomes`, `Rows`, `Scores`; the axes
rows_reference.py  the row memory as a plain loop: the truth
rows_chunked.py    the same, exactly, for a whole segment at once
"""
