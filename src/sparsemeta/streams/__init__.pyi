from .learners import SoftmaxSGD as SoftmaxSGD, StreamingLDA as StreamingLDA
from .online import OnlineClassifier as OnlineClassifier, OnlineRegressor as OnlineRegressor
from .stream import (
    ACCURACY as ACCURACY,
    SQUARED_ERROR as SQUARED_ERROR,
    Metric as Metric,
    Stream as Stream,
    Task as Task,
    age as age,
    exposures as exposures,
    predictions as predictions,
    score as score,
)
from .tasks.images import read_digits as read_digits, read_omniglot as read_omniglot
from .tasks.ordered import ClassOrdered as ClassOrdered, prototypes as prototypes
from .tasks.rebinding import Rebinding as Rebinding
from .tasks.sine import Sine as Sine
from .training import TrainingConfig as TrainingConfig, train as train
