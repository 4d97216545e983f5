"""Environments in which rules change or must be found, in batches, with who plays them best.

Axes: B environments side by side, T steps, W the width of an observation.

    base.py        rules; B environments that keep to them; agents; the loop that plays any anywhere
    registry.py    what an environment says of itself, and all of them by id
    card_sorting/  Wisconsin card sorting
    reversal.py    two arms that change places
    bernoulli.py   the Bernoulli bandit, and its Gittins index
    two_step.py    the two-step task of Daw
    graph.py       the graph POMDP of Fast Weight Memory

Each of the last has its rules, who plays by them untrained, and its `EnvironmentSpec`. Rules are
frozen settings, B environments step by them, an agent plays:

    env = TensorVectorEnv(CardSorting(), batch=128)
    record = play(env, IdealObserver(), torch.Generator().manual_seed(0))
    128 - record.returns().mean()  # errors

An episode that ends is replaced within the same step. Everything is on the generator's device.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
