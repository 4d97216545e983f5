from .config import AdapterTraining as AdapterTraining, AugmentRecipe as AugmentRecipe
from .reading import with_adapter as with_adapter
from .training import train_adapter as train_adapter
