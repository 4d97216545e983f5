"""Equation (1): from queries and keys to addresses.

kinds.py    the table of kinds
topk.py     the slots that fit best
product.py  the pairs of half-keys that fit best, for many slots
signed.py   the slots that fit or oppose the most; or all of them
search.py   what they share: finding the best, and weighing them
top.py      its search, compiled for CPUs
scores.py   its scores of chosen keys, compiled for CPUs
nearest.py  the address of a few contexts in one loop, compiled for CPUs
"""
