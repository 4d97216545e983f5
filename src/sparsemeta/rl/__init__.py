"""Reinforcement learning within one life: rules that change, and agents that notice.

environments/  batched environments, each with who plays it best, and the loop that plays
gym.py         the same for Gymnasium: ids, single and vector (needs gymnasium)
adapter.py     the other way round: any environment of Gymnasium in batches (needs gymnasium)
worlds.py      from the environment that a recipe names to episodes side by side
config.py      the recipe of an agent
agent.py       the agent: a recurrent network with fast weights, an actor and a critic
rollout.py     segments of experience, with the advantage of every action
ppo.py         what is learned from a segment
training.py    the loop over segments
checkpoint.py  trained agents on disk
evaluation.py  what one is worth, beside those who play best; report.py, plots.py: shown
watching.py    a life of it, step by step; cards.py draws card sorting, film.py writes pictures
"""
