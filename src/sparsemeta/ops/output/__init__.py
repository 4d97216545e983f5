"""Memory where outcomes are predicted.

types.py           what the row memory's forms speak of: `Outcomes`, `Rows`, `Scores`; the axes
rows.py            the row memory over a table of the rows of classes that came: its entry
rows_reference.py  the same as a plain loop, with a row for every class: the truth
rows_chunked.py    the same, exactly, for a whole segment at once
rows_native.py     a loop compiled for CPUs, for a few steps without a gradient
heads.py           `Heads`: which contexts a table memory keeps, and who extends whom
tables_types.py    what the rest speaks of: what is set, what is learned, what came
tables.py          a segment read with a table memory
tables_reference.py  a table memory as dictionaries, and gate_reference.py its gate: the truth
cache.py           a cache of hidden states, one token at a time, by cache_loops.py
read_loop.py       the same as one compiled loop, of contexts.py, tables_loops.py, gate_loops.py
"""
