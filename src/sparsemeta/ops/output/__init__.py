"""Memory where outcomes are predicted.

heads.py             `Heads`: which contexts a table memory keeps, and who extends whom
tables_types.py      what the rest speaks of: what is set, what is learned, what came
tables.py            a segment read with a table memory
tables_reference.py  a table memory as dictionaries, and gate_reference.py its gate: the truth
read_loop.py         the same as one compiled loop, of contexts.py, tables_loops.py, gate_loops.py
"""
