"""Reinforcement learning within a task: rules that change, and agents that notice.

environments/  environments that describe themselves, who plays them best, the loop that plays
gym.py         the same for Gymnasium, and any of Gymnasium in batches (needs gymnasium)
config.py      the recipe of an agent
agent.py       the agent, a recurrent network with fast weights; B environments by a recipe
rollout.py     segments of experience, with the advantage of every action
ppo.py         what is learned from a segment
training.py    the loop over segments; reading what was trained
evaluation.py  what one is worth, beside those who play best: measured, in a table, drawn
watching.py    one at play, step by step; films of it

train(Recipe(), "runs/rl/agent")
agent, recipe = load("runs/rl/agent")
evaluation.table(evaluate(agent, recipe.environment))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
