from .base import (
    Agent as Agent,
    ObservationFilter as ObservationFilter,
    Record as Record,
    Rules as Rules,
    Step as Step,
    TensorVectorEnv as TensorVectorEnv,
    Turn as Turn,
    Uniform as Uniform,
    VectorEnv as VectorEnv,
    chance as chance,
    check_action as check_action,
    play as play,
)
from .bernoulli import (
    UCB as UCB,
    BernoulliBandit as BernoulliBandit,
    Gittins as Gittins,
    Greedy as Greedy,
    Thompson as Thompson,
    gittins_indices as gittins_indices,
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
from .graph import GraphPOMDP as GraphPOMDP, KnownGraph as KnownGraph
from .registry import (
    REGISTRY as REGISTRY,
    Curve as Curve,
    Drawing as Drawing,
    EnvironmentSpec as EnvironmentSpec,
    Outcome as Outcome,
    find_spec as find_spec,
    id_help as id_help,
)
from .reversal import (
    ReversalBandit as ReversalBandit,
    ReversalObserver as ReversalObserver,
    ReversalWinStay as ReversalWinStay,
)
from .two_step import (
    ModelBased as ModelBased,
    ModelFree as ModelFree,
    TwoStep as TwoStep,
    stay_probability as stay_probability,
)
