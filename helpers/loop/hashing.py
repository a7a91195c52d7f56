"""A short name for a computation: another model, function or input, another name.

``cache_features`` calls its files by it. Two things of one name are the same; the same
thing may get a second name (in another version of Python, say), which only costs time.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import types
from typing import Any

import torch
from torch import nn

__all__ = ["ContentHash", "raw_bytes"]

_PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, range)


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """A tensor's values as bytes, for hashing."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().data


class ContentHash:
    """Collects values; :meth:`name` is then their name."""

    def __init__(self, *values: Any) -> None:
        self._hash = hashlib.blake2b(digest_size=12)
        # The objects themselves: a freed one's id may be given to another.
        self._seen: dict[int, Any] = {}
        for value in values:
            self.add(value)

    def name(self) -> str:
        """24 hexadecimal digits."""
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        """Take in a value of any kind: data, functions with what they use, modules.

        Raises:
            TypeError: a value whose content cannot be seen.
        """
        self._text(type(value).__qualname__)
        if isinstance(value, torch.Tensor):
            self._text(f"{tuple(value.shape)} {value.dtype}")
            self._hash.update(raw_bytes(value))
        elif isinstance(value, _PLAIN):
            self._text(repr(value))
        elif isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType)):
            home = getattr(value, "__module__", "")
            self._text(f"{home}.{getattr(value, '__qualname__', value.__name__)}")
        elif hasattr(value, "items"):
            self._all([part for pair in value.items() for part in pair])
        elif isinstance(value, (list, tuple)):
            self._all(list(value))
        elif isinstance(value, (set, frozenset)):
            self._all(sorted(value, key=repr))
        elif id(value) not in self._seen:
            self._seen[id(value)] = value
            self._object(value)

    def _object(self, value: Any) -> None:
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.CodeType):
            self._text(value.co_code.hex())
            self._all([value.co_names, value.co_consts])
        elif isinstance(value, types.MethodType):
            self._all([value.__func__, value.__self__])
        elif isinstance(value, functools.partial):
            self._all([value.func, value.args, value.keywords])
        elif isinstance(value, nn.Module):
            self._module(value)
        else:
            try:
                self._hash.update(pickle.dumps(value))
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                raise TypeError(
                    f"a cache file needs a name made from all that embed uses, but a "
                    f"{type(value).__name__} cannot be read ({error}): leave folder "
                    "out, or let embed use plain values."
                ) from error

    def _all(self, values: list[Any]) -> None:
        self._text(str(len(values)))
        for value in values:
            self.add(value)

    def _text(self, text: str) -> None:
        self._hash.update(f"{len(text)}:{text}".encode())

    def _function(self, function: types.FunctionType) -> None:
        """Its code, the values it carries, and what its code calls by name."""
        self.add(function.__code__)
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        self._all([function.__defaults__, function.__kwdefaults__, cells])
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                value = function.__globals__[name]
                self._text(name)
                home = getattr(value, "__globals__", function.__globals__)
                if home is function.__globals__:
                    self.add(value)
                else:  # a library's function: its name is enough
                    self._text(f"{value.__module__}.{value.__qualname__}")

    def _module(self, module: nn.Module) -> None:
        self._text(str(module))
        self.add(module.state_dict())
        for part in module.modules():
            public = {k: v for k, v in vars(part).items() if k[0] != "_"}
            settings = {k: v for k, v in public.items() if _is_setting(v)}
            self.add({k: v for k, v in settings.items() if k != "training"})
            # A class of the notebook may have been edited since.
            if type(part).__module__ == "__main__":
                own = vars(type(part)).values()
                self._all([f for f in own if isinstance(f, types.FunctionType)])


def _is_setting(value: Any) -> bool:
    """Plain values, functions, and containers of them."""
    if isinstance(value, dict):
        return all(map(_is_setting, [*value, *value.values()]))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_setting, value))
    return isinstance(value, (*_PLAIN, types.FunctionType))


def _names(code: types.CodeType) -> set[str]:
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))
