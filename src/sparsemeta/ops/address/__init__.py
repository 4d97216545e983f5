"""Equation (1): from queries and keys to addresses. kinds.py: all of them; native.py: compiled."""
