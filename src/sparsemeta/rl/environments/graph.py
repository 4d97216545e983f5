"""The graph POMDP of Fast Weight Memory: find the way to a place by connections to be learned."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from sparsemeta.config import AtLeast, Count, Settings
from sparsemeta.rl.environments.base import Agent, Turn, VectorEnv, chance, pick, rules_of
from sparsemeta.rl.environments.registry import EnvironmentSpec


class GraphState(NamedTuple):
    """B episodes."""

    leads: Tensor  # (B, N, A) int64, where an action leads from a place; to itself where nowhere
    place: Tensor  # (B,) int64, where the agent is
    goal: Tensor  # (B,) int64, where it is to go
    wasted: Tensor  # (B,) int64, steps without reward since the agent was last taken away
    taken: Tensor  # (B,) bool, whether it was just put where it is, and did not walk there
    step: Tensor  # (B,) int64, steps done


class GraphInfo(NamedTuple):
    """About one step: whether the goal was reached, and whether the action led anywhere, (B,)."""

    reached: Tensor
    moved: Tensor


@dataclass(frozen=True)
class GraphPOMDP(Settings, section="graph"):
    """Walk a random directed graph to a goal, which then moves; the graph is never seen.

    Each place can be left and reached, and all are connected. An action that leads nowhere costs
    a little. Reaching the goal, and every sixth step (one more than there are places) without a
    reward, puts goal and agent elsewhere at random. Seen are the goal, the place, and whether the
    agent was just put there. (Schlag, Munkhdalai and Schmidhuber 2021, arXiv 2011.07831, by the
    rules of their code; they show the agent its last action, or that there is none, for the last.)

    Rewards in 30 steps: shortest ways in the known graph 166, uniform 45. Published, after
    training: FWM 106.9, LSTM 80 to 83.
    """

    places: Annotated[int, AtLeast(3)] = 5
    """Places (N)."""
    kinds: Annotated[int, AtLeast(3)] = 3
    """Connections that may leave a place, one for each action (A)."""
    reward: float = 10.0
    """The reward for reaching the goal."""
    penalty: float = 0.05
    """What an action that leads nowhere costs."""
    length: Count = 30
    """Steps (T)."""

    @property
    def actions(self) -> int:
        """The number of kinds of connections."""
        return self.kinds

    @property
    def width(self) -> int:
        """The goal, the place, and whether the agent was put there."""
        return 2 * self.places + 1

    def start(self, batch: int, generator: Generator) -> GraphState:
        """Draw B graphs, goals and places."""
        none = torch.zeros(batch, dtype=torch.int64, device=generator.device)
        goal = torch.randint(self.places, none.shape, **chance(generator))
        place = self._other(goal, generator)
        leads = draw_graphs(batch, self.places, self.kinds, generator)
        return GraphState(leads, place, goal, none, torch.ones_like(none, dtype=torch.bool), none)

    def observe(self, state: GraphState) -> Tensor:
        """The goal, the place, and whether the agent was put there: (B, 2 N + 1) float32."""
        goal, place = (one_hot(at, self.places) for at in (state.goal, state.place))
        return torch.cat([goal, place, state.taken[:, None]], dim=1).float()

    def advance(self, state: GraphState, action: Tensor, generator: Generator) -> Turn:
        """Walk, each by an action (B,)."""
        place = pick(pick(state.leads, state.place), action)
        moved, reached = place != state.place, place == state.goal
        reward = self.reward * reached - self.penalty * ~moved
        wasted = state.wasted + ~reached
        lost = wasted > self.places
        taken = reached | lost
        goal = torch.where(taken, self._other(state.goal, generator), state.goal)
        place = torch.where(taken, self._other(goal, generator), place)
        after = GraphState(state.leads, place, goal, wasted * ~lost, taken, state.step + 1)
        return Turn(after, reward, after.step == self.length, GraphInfo(reached, moved))

    def _other(self, place: Tensor, generator: Generator) -> Tensor:
        """Another place, at random."""
        turn = torch.randint(1, self.places, place.shape, **chance(generator))
        return (place + turn) % self.places


class KnownGraph(Agent):
    """Walks the shortest way, looking at the graph that no other agent is shown."""

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Note where to look."""
        rules_of(environment, GraphPOMDP)
        self._environment = environment

    def act(self, observation: Tensor) -> Tensor:
        """The action (B,) after which the way is shortest."""
        state = self._environment.render()
        options = pick(state.leads, state.place)  # (B, A)
        left = pick(steps_between(state.leads).mT, state.goal).gather(1, options)
        return torch.where(options == state.place[:, None], torch.inf, left).argmin(1)


def draw_graphs(batch: int, places: int, kinds: int, generator: Generator) -> Tensor:
    """Graphs (B, N, A) at random, as `GraphState.leads`, in which all places are connected."""
    leads = _draw(batch, places, kinds, generator)
    while not (connected := _connected(leads)).all():
        leads[~connected] = _draw(int((~connected).sum()), places, kinds, generator)
    return leads


def steps_between(leads: Tensor) -> Tensor:
    """The length (B, N, N) float32 of the shortest way from a place to each, infinite if none."""
    places = leads.shape[1]
    steps = torch.full((len(leads), places, places), torch.inf, device=leads.device)
    steps.scatter_(2, leads, 1.0).diagonal(dim1=1, dim2=2).zero_()
    for middle in range(places):
        steps = torch.minimum(steps, steps[:, :, middle, None] + steps[:, None, middle])
    return steps


def _connected(leads: Tensor) -> Tensor:
    """Whether every place leads to every one in 2^N steps exactly, (B,)."""
    places = leads.shape[1]
    ways = torch.zeros(len(leads), places, places, device=leads.device)
    ways.scatter_(2, leads, 1.0).diagonal(dim1=1, dim2=2).zero_()
    for _ in range(places):
        ways = (ways @ ways).clamp(max=1)
    return (ways > 0).all((1, 2))


def _draw(batch: int, places: int, kinds: int, generator: Generator) -> Tensor:
    """One way out of every place, then one into every place by an action still free."""
    row = torch.arange(batch, device=generator.device)
    here = torch.arange(places, device=generator.device)
    leads = here[:, None].expand(batch, places, kinds).clone()
    turn = torch.randint(1, places, (batch, places), **chance(generator))
    kind = torch.randint(kinds, (batch, places), **chance(generator))
    leads.scatter_(2, kind[..., None], ((here + turn) % places)[..., None])
    for to in range(places):
        free = leads == here[:, None]
        free[:, to] = False
        pick = (torch.rand(leads.shape, **chance(generator)) * free).flatten(1).argmax(1)
        leads[row, pick // kinds, pick % kinds] = to
    return leads


GRAPH_POMDP = EnvironmentSpec(
    GraphPOMDP,
    rivals={"known graph": KnownGraph},
    measures=lambda record: {"goals": record.info.reached},
)
