"""Environments in which rules change or must be found, in batches, with who plays them best.

Axes: B episodes side by side, T steps, W the width of an observation.

    environment.py        Environment: B copies stepped together; Rules: what each file below has
    play.py               Agent: who acts and learns; the one loop that plays any anywhere
    card_sorting.py       Wisconsin card sorting
    card_sorters.py       its ideal observer, one that does not count, win-stay-lose-shift
    reversal.py           two arms that change places; their ideal observer, win-stay-lose-shift
    bernoulli.py          the Bernoulli bandit; greedy, Thompson sampling, UCB
    gittins.py            its Gittins index
    two_step.py           the two-step task of Daw, and the pattern of stays that it is about
    two_step_learners.py  a model-based and a model-free learner
    graph.py              the graph POMDP of Fast Weight Memory, and the shortest ways in it

Rules are frozen settings, an environment steps B episodes of them, an agent plays it:

    environment = Environment(CardSorting(), batch=128)
    record = play(environment, IdealObserver(), torch.Generator().manual_seed(0))
    128 - record.returns().mean()  # errors

An episode that ends is replaced within the same step. Everything is on the generator's device.
"""

from sparsemeta.rl.environments.bernoulli import UCB, BernoulliBandit, Greedy, Thompson
from sparsemeta.rl.environments.card_sorters import IdealObserver, NoCount, WinStayLoseShift
from sparsemeta.rl.environments.card_sorting import STRICT, CardSorting, recovery
from sparsemeta.rl.environments.environment import (
    Environment,
    Rules,
    Step,
    Turn,
    World,
    check_action,
)
from sparsemeta.rl.environments.gittins import Gittins, gittins_indices
from sparsemeta.rl.environments.graph import GraphPOMDP, KnownGraph
from sparsemeta.rl.environments.play import Agent, Record, Uniform, play
from sparsemeta.rl.environments.reversal import ReversalBandit, ReversalObserver, ReversalWinStay
from sparsemeta.rl.environments.two_step import TwoStep, stay_probability
from sparsemeta.rl.environments.two_step_learners import ModelBased, ModelFree

__all__ = [
    "STRICT",
    "UCB",
    "Agent",
    "BernoulliBandit",
    "CardSorting",
    "Environment",
    "Gittins",
    "GraphPOMDP",
    "Greedy",
    "IdealObserver",
    "KnownGraph",
    "ModelBased",
    "ModelFree",
    "NoCount",
    "Record",
    "ReversalBandit",
    "ReversalObserver",
    "ReversalWinStay",
    "Rules",
    "Step",
    "Thompson",
    "Turn",
    "TwoStep",
    "Uniform",
    "WinStayLoseShift",
    "World",
    "check_action",
    "gittins_indices",
    "play",
    "recovery",
    "stay_probability",
]
