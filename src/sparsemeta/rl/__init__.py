"""Reinforcement learning within one life: rules that change, and agents that notice.

environments/  batched environments, each with who plays it best, and the loop that plays
gym.py         the same for Gymnasium: ids, single and vector (needs gymnasium)
cards.py       a picture of card sorting
"""
