"""Runs in a kernel before the first cell, when notebooks are refreshed or tested.

It keeps the kernel on the CPU, and does two things more if the environment asks for
them. COURSE_JITTER="seed:size" puts
relative noise on all weights after each optimizer step, which makes as many different
machines as wanted. COURSE_ASSERTIONS=FILE notes by how much each assertion holds, and
lets the notebook go on where one fails. The course itself knows nothing of it.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import sys
from typing import Any

MOST = 1 << 16  # numbers of one tensor that get noise; chaos spreads it to the rest
_OPERATORS = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


class Jitter:
    """Noise after every optimizer step of torch and Keras, hand-written loops too."""

    def __init__(self, seed: int, size: float) -> None:
        self.seed, self.size = seed, size
        self.hooked: set[str] = set()

    def watch(self, *_: Any) -> None:
        """Hook the frameworks that have been imported since the last cell."""
        for name, hook in (("torch", self._torch), ("keras", self._keras)):
            if name in sys.modules and name not in self.hooked:
                self.hooked.add(name)
                hook()

    def _torch(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        def shake(optimizer: Any, *_: Any) -> None:
            for group in optimizer.param_groups:
                for p in group["params"]:
                    self._noise_on(p.data)

        register_optimizer_step_post_hook(shake)

    def _noise_on(self, weights: Any) -> None:
        """Multiply a torch tensor, or a window of it, by 1 + noise, in place."""
        import torch

        usable = weights.is_floating_point() and weights.is_contiguous()
        if not usable or not weights.numel():
            return
        flat = weights.view(-1)
        # A function of the weights alone: what should repeat exactly still does.
        bits = int(flat[:1].float().cpu().view(torch.int32))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + bits)
        count = min(MOST, flat.numel())
        last = flat.numel() - count
        start = int(torch.randint(last + 1, (1,), generator=generator))
        noise = torch.randn(count, generator=generator)
        finer = torch.finfo(flat.dtype).eps / torch.finfo(torch.float32).eps
        noise = noise.to(flat.dtype).mul_(self.size * min(finer, 1)).add_(1)
        flat[start : start + count].mul_(noise.to(flat.device))

    def _keras(self) -> None:
        import keras

        if keras.backend.backend() == "torch":
            self._keras_on_torch()
        else:
            self._keras_on_tensorflow()

    def _keras_on_torch(self) -> None:
        import keras

        apply = keras.optimizers.Optimizer.apply

        def shaken(optimizer: Any, grads: Any, trainable_variables: Any = None) -> None:
            apply(optimizer, grads, trainable_variables)
            for variable in trainable_variables or optimizer._trainable_variables:
                self._noise_on(variable.value.data)

        keras.optimizers.Optimizer.apply = shaken

    def _keras_on_tensorflow(self) -> None:
        import keras
        import tensorflow as tf

        apply = keras.optimizers.Optimizer.apply
        seed, size = self.seed, self.size

        def shaken(optimizer: Any, grads: Any, trainable_variables: Any = None) -> None:
            apply(optimizer, grads, trainable_variables)
            step = tf.cast(optimizer.iterations.value, tf.int32)
            for variable in trainable_variables or optimizer._trainable_variables:
                noise = tf.random.stateless_normal(
                    variable.shape, seed=tf.stack([seed, step]), dtype=variable.dtype
                )
                variable.assign(variable.value * (1 + size * noise))

        keras.optimizers.Optimizer.apply = shaken


class AssertionRecorder(ast.NodeTransformer):
    """Rewrites each `assert` of a cell so that its two sides are noted.

    One JSON line a comparison goes to the file: cell (counted from 1), text, the two
    sides as numbers (None where they are none), operator, and whether it holds.
    """

    def __init__(self, path: str) -> None:
        self.cell, self.path = 0, path

    def next_cell(self, *_: Any) -> None:
        """A cell begins."""
        self.cell += 1

    def note(self, text: str, left: Any, sign: str, right: Any, holds: bool) -> None:
        """Append one line to the file."""
        sides = [self._number(left), self._number(right)]
        line = [self.cell, text, *sides, sign, holds]
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    @staticmethod
    def _number(value: Any) -> float | None:
        try:
            # A tensor that learns would warn.
            return float(getattr(value, "detach", lambda: value)())
        except (TypeError, ValueError, RuntimeError, OverflowError):
            return None

    def compared(self, text: str, *parts: Any) -> Any:
        """The value of a comparison a < b < c, each pair noted."""
        result: Any = True
        for left, sign, right in zip(
            parts[::2], parts[1::2], parts[2::2], strict=False
        ):
            result = eval(f"left {sign} right", {}, {"left": left, "right": right})
            try:
                holds = bool(result)
            except (TypeError, ValueError, RuntimeError):  # an array: the cell's affair
                return result
            self.note(text, left, sign, right, holds)
            if not result:
                return result
        return result

    def checked(self, holds: Any, text: str) -> None:
        """An assertion: noted where it fails, and the notebook goes on."""
        if not holds:
            self.note(text, None, "assert", None, False)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        text = ast.unparse(node.test)
        value = _Comparisons().visit(node.test)
        call = ast.Call(_name("__checked__"), [value, ast.Constant(text)], [])
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))


class _Comparisons(ast.NodeTransformer):
    """Comparisons that an assertion needs become calls: alone, or joined by `and`."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if any(type(sign) not in _OPERATORS for sign in node.ops):
            return node
        # a < b < c reads c only where a < b; a call would read it always.
        if len(node.ops) > 1 and any(
            isinstance(part, (ast.Call, ast.Subscript)) for part in ast.walk(node)
        ):
            return node
        parts: list[ast.expr] = [ast.Constant(ast.unparse(node)), node.left]
        for sign, right in zip(node.ops, node.comparators, strict=True):
            parts += [ast.Constant(_OPERATORS[type(sign)]), right]
        return ast.copy_location(ast.Call(_name("__compared__"), parts, []), node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        # One side of an `or` may well be false.
        return node if isinstance(node.op, ast.Or) else self.generic_visit(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp  # type: ignore[assignment]
    visit_Lambda = visit_Call = visit_UnaryOp = visit_GeneratorExp  # type: ignore[assignment]


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def on_the_cpu(*_: Any) -> None:
    """Hide Apple's GPU, as CUDA_VISIBLE_DEVICES hides NVIDIA's."""
    if "torch" in sys.modules:
        backend = sys.modules["torch"].backends.mps
        if backend.is_available():
            # Cached, as torch's own is: it looks behind the cache.
            backend.is_available = functools.cache(lambda: False)


def start() -> None:
    """Do what the environment asks for."""
    import builtins

    from IPython import get_ipython

    shell = get_ipython()
    shell.events.register("pre_run_cell", on_the_cpu)
    if jitter := os.environ.get("COURSE_JITTER"):
        seed, size = jitter.split(":")
        shell.events.register("pre_run_cell", Jitter(int(seed), float(size)).watch)
    if path := os.environ.get("COURSE_ASSERTIONS"):
        recorder = AssertionRecorder(path)
        # Builtins: a name in the learner's namespace would show there.
        vars(builtins)["__compared__"] = recorder.compared
        vars(builtins)["__checked__"] = recorder.checked
        shell.events.register("pre_run_cell", recorder.next_cell)
        shell.ast_transformers.append(recorder)


start()
