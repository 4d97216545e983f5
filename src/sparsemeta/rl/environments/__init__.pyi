from .bernoulli import (
    UCB as UCB,
    BernoulliBandit as BernoulliBandit,
    Gittins as Gittins,
    Greedy as Greedy,
    Thompson as Thompson,
)
from .card_sorting.players import (
    IdealObserver as IdealObserver,
    NoCount as NoCount,
    WinStayLoseShift as WinStayLoseShift,
)
from .card_sorting.rules import (
    CardSorting as CardSorting,
    CardSortingStrict as CardSortingStrict,
    recovery as recovery,
)
from .gittins import gittins_indices as gittins_indices
from .graph import GraphPOMDP as GraphPOMDP, KnownGraph as KnownGraph
from .pictures import Image as Image, require_film as require_film, save_film as save_film
from .playing import Agent as Agent, Record as Record, Uniform as Uniform, play as play
from .registry import REGISTRY as REGISTRY, find_spec as find_spec, id_help as id_help
from .reversal import (
    ReversalBandit as ReversalBandit,
    ReversalObserver as ReversalObserver,
    ReversalWinStay as ReversalWinStay,
)
from .rules import Rules as Rules, Turn as Turn
from .spec import (
    Curve as Curve,
    Drawing as Drawing,
    EnvironmentSpec as EnvironmentSpec,
    Outcome as Outcome,
)
from .two_step import (
    ModelBased as ModelBased,
    ModelFree as ModelFree,
    TwoStep as TwoStep,
    stay_probability as stay_probability,
)
from .vector import (
    ObservationFilter as ObservationFilter,
    Step as Step,
    TensorVectorEnv as TensorVectorEnv,
    VectorEnv as VectorEnv,
    check_action as check_action,
)
