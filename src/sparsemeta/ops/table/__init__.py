"""A table of the rows that were written: slots.py; hashing.py: its search, compiled for CPUs."""
