from .adaptations import (
    ADAPTATIONS as ADAPTATIONS,
    Adaptation as Adaptation,
    Cache as Cache,
    CarriedMemory as CarriedMemory,
    DocumentMemory as DocumentMemory,
    Dynamic as Dynamic,
    NoMemory as NoMemory,
)
from .arms import Arm as Arm, all_arms as all_arms, arms_of as arms_of, choose_arms as choose_arms
from .comparison import Comparison as Comparison, compare as compare, evaluate as evaluate
from .evaluator import Evaluator as Evaluator, Tuned as Tuned, tune as tune
