"""Helpers of the course on pretrained models: what would distract from the lesson.

Import this package first in a notebook: it points every framework to the course's
own caches and says whether downloading is allowed, which they read at import.
Nothing heavy is imported here; each name below loads its module when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from helpers import environment

environment.configure()

if TYPE_CHECKING:
    from helpers.assets import MissingAsset as MissingAsset
    from helpers.assets import require as require
    from helpers.environment import data_root as data_root
    from helpers.environment import device as device
    from helpers.environment import online as online
    from helpers.environment import seed_everything as seed_everything
    from helpers.environment import setup as setup
    from helpers.exercises import check as check
    from helpers.features import Features as Features
    from helpers.features import cache_features as cache_features
    from helpers.features import mean_pool as mean_pool
    from helpers.layers import count_parameters as count_parameters
    from helpers.layers import freeze as freeze
    from helpers.layers import unfreeze as unfreeze
    from helpers.loop.history import History as History
    from helpers.tokens import token_loader as token_loader
    from helpers.training import classify as classify
    from helpers.training import epoch_order as epoch_order
    from helpers.training import evaluate as evaluate
    from helpers.training import fit as fit
    from helpers.training import hf_step as hf_step
    from helpers.training import predict as predict
    from helpers.training import resolve_precision as resolve_precision
    from helpers.widgets import explore as explore

_HOME = {
    "MissingAsset": "assets",
    "require": "assets",
    "data_root": "environment",
    "device": "environment",
    "online": "environment",
    "seed_everything": "environment",
    "setup": "environment",
    "check": "exercises",
    "Features": "features",
    "cache_features": "features",
    "mean_pool": "features",
    "History": "loop.history",
    "count_parameters": "layers",
    "freeze": "layers",
    "unfreeze": "layers",
    "token_loader": "tokens",
    "classify": "training",
    "epoch_order": "training",
    "evaluate": "training",
    "fit": "training",
    "hf_step": "training",
    "predict": "training",
    "resolve_precision": "training",
    "explore": "widgets",
}
_MODULES = ("assets", "datasets", "exercises", "features", "plotting")
__all__ = [*_HOME, *_MODULES]  # noqa: PLE0604 (strings, from two tables)


def __getattr__(name: str) -> Any:
    """Load a public name, or one of the modules, when it is first asked for."""
    if name in _HOME:
        value = getattr(importlib.import_module(f"helpers.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"helpers.{name}")
    else:
        raise AttributeError(f"helpers has no {name!r}; it offers {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
