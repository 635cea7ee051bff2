"""An accelerator for machines without one: what is on it must not meet the CPU's.

Tensors on the pretended device hold their values in the CPU's memory, and are computed
there, but only with each other, as on CUDA and MPS; and like MPS it has no float64.
PyTorch's meta device lends its name, since every build of PyTorch knows that one.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEVICE = torch.device("meta")
CPU = torch.device("cpu")
aten = torch.ops.aten
ALLOWED_TO_MIX = (aten._to_copy.default, aten.copy_.default)


class StrayError(RuntimeError):
    """Something that a device does not do."""


@contextmanager
def pretended_device() -> Iterator[list[str]]:
    """Make the device usable inside the block; yields the names of what it computes."""
    calls: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(_Making())
        stack.enter_context(_Computing(calls))
        yield calls


class _There(torch.Tensor):
    """A tensor on the device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> _There:
        made: _There = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise StrayError(f"{func} outside of the block")


class _Making(TorchFunctionMode):
    """Let torch.tensor make tensors there, which does so unseen by what lies below."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and _is_there(kwargs.get("device")):
            return func(*args, **kwargs | {"device": CPU}).to(DEVICE)
        return func(*args, **kwargs)


class _Computing(TorchDispatchMode):
    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self._calls = calls

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Skipping imports dynamo and triton, which no other test may find loaded.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = [x for x in given if isinstance(x, _There)]
        goes = _goes_there(func, args, kwargs, there)
        if there or goes:
            self._calls.append(str(func))
            _check(func, given, kwargs, goes)
        if _is_there(kwargs.get("device")):
            kwargs["device"] = CPU
        plain_args, plain_kwargs = tree_map_only(_There, _held, (args, kwargs))
        found = func(*plain_args, **plain_kwargs)
        if _works_in_place(func):
            return args[0]
        return tree_map_only(torch.Tensor, _moved, found) if goes else found


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device) == DEVICE


def _held(tensor: _There) -> torch.Tensor:
    return tensor.held


def _moved(tensor: torch.Tensor) -> _There:
    if tensor.dtype == torch.float64:
        raise StrayError("float64 on a device that has none")
    return _There(tensor)


def _works_in_place(func: Any) -> bool:
    returned = func._schema.returns
    alias = returned[0].alias_info if returned else None
    return alias is not None and alias.is_write


def _goes_there(func: Any, args: Any, kwargs: dict[str, Any], there: list[Any]) -> bool:
    """Return whether the result is on the device."""
    if func is aten.copy_.default:
        return isinstance(args[0], _There)
    if kwargs.get("device") is not None:
        return _is_there(kwargs["device"])
    return bool(there)


def _check(
    func: Any, given: list[torch.Tensor], kwargs: dict[str, Any], goes: bool
) -> None:
    if goes and kwargs.get("generator") is not None:
        raise StrayError(f"{func} draws there with a generator of the CPU")
    if func in ALLOWED_TO_MIX:
        return
    # As everywhere in PyTorch, single numbers may come from the CPU.
    strays = [x for x in given if not isinstance(x, _There) and x.ndim]
    if strays:
        raise StrayError(f"{func} mixes the device with the CPU")
