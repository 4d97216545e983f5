from . import environments as environments, plots as plots, report as report
from .agent import ActorCritic as ActorCritic, Player as Player, to_best_device as to_best_device
from .config import (
    AgentConfig as AgentConfig,
    EnvironmentConfig as EnvironmentConfig,
    Recipe as Recipe,
    TrainingConfig as TrainingConfig,
)
from .evaluation import Evaluation as Evaluation, evaluate as evaluate
from .making import elsewhere as elsewhere, make as make
from .rollout import Collector as Collector
from .training import load as load, train as train
from .watching import Moment as Moment, watch as watch
