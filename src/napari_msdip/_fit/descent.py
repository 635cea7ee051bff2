"""One step down the gradient, as it stands or captured as a CUDA graph.

A step on a small image is some hundred operations that a GPU does in no time: nearly all
of it goes into starting them one by one. A graph starts them all at once.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import torch
from torch.optim.adam import adam

from napari_msdip._fit.symmetry import turned_back
from napari_msdip.devices import available_memory, release_cached_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from napari_msdip.generator import Generator as Network

    # From output and image asked for, both unturned, and whether to measure by L1.
    Loss = Callable[[Tensor, Tensor, bool], Tensor]
    Pair = tuple[Tensor, Tensor]

__all__ = ["CapturedDescent", "Captures", "Descent", "descent_on"]


class Captures(Protocol):
    """What makes work repeatable without Python."""

    def has_room(self) -> bool:
        """Return whether there is memory to do again what was just done."""

    def capture(self, work: Callable[[], Pair]) -> Callable[[], Pair]:
        """Return what does the work again on what its inputs hold by then.

        Raises
        ------
        RuntimeError
            If that is not possible.
        """


def descent_on(device: torch.device, network: Network, loss: Loss) -> Descent:
    """Return the descent that suits a device."""
    if device.type == "cuda":
        return CapturedDescent(network, loss, _CudaGraphs())
    return Descent(network, loss)


class Descent:
    """Steps of a generator's weights down the gradient of a loss, by Adam.

    Parameters
    ----------
    network : Network
        The generator, changed in place.
    loss : callable
        From output and image asked for, both unturned, and whether to measure by L1.
    fused : bool
        Whether the optimiser is one kernel, which can be captured.
    """

    def __init__(self, network: Network, loss: Loss, *, fused: bool = False) -> None:
        self._network = network
        self._loss = loss
        self._adam = _Adam(network.parameters(), fused=fused)

    def __call__(
        self, shown: Tensor, asked: Tensor, turn: int, rate: float, *, absolute: bool
    ) -> Pair:
        """Take one step.

        Parameters
        ----------
        shown : Tensor
            ``(B, C, H, W)`` what the generator sees, turned.
        asked : Tensor
            ``(B, C, H, W)`` what it should make of that, unturned.
        turn : int
            The symmetry that was applied.
        rate : float
            Learning rate.
        absolute : bool
            L1 instead of L2.

        Returns
        -------
        tuple of Tensor
            The loss and the output, unturned; they may change with the next step.
        """
        return self._step(shown, asked, turn, rate, absolute)

    def _step(
        self, shown: Tensor, asked: Tensor, turn: int, rate: float | Tensor, absolute: bool
    ) -> Pair:
        output = turned_back(self._network(shown).float(), turn)
        loss = self._loss(output, asked, absolute)
        parameters = self._adam.parameters
        self._adam.step(torch.autograd.grad(loss, parameters), rate)
        return loss.detach(), output.detach()


class CapturedDescent(Descent):
    """The same steps, each kind of which is captured once and then repeated.

    Parameters
    ----------
    network, loss
        As for :class:`Descent`.
    captures : Captures
        How to capture.
    """

    def __init__(self, network: Network, loss: Loss, captures: Captures) -> None:
        super().__init__(network, loss, fused=True)
        self._captures = captures
        # Not known before the first step, which also sets up what libraries set up once.
        self._fits: bool | None = None
        self._inputs: dict[tuple[int, ...], Pair] = {}
        self._captured: dict[tuple[int, bool], Callable[[], Pair]] = {}
        device = self._adam.parameters[0].device
        self._rate = torch.zeros((), device=device, dtype=torch.float32)

    def __call__(
        self, shown: Tensor, asked: Tensor, turn: int, rate: float, *, absolute: bool
    ) -> Pair:
        """Take one step; see :class:`Descent`."""
        self._rate.fill_(rate)
        if self._fits is None:
            found = self._step(shown, asked, turn, self._rate, absolute)
            self._fits = self._captures.has_room()
            return found
        if self._fits:
            repeat = self._repeatable(self._kept(shown, asked), turn, absolute)
            if repeat is not None:
                return repeat()
        return self._step(shown, asked, turn, self._rate, absolute)

    def _kept(self, shown: Tensor, asked: Tensor) -> Pair:
        """Copy images to where captured steps on their shape find them."""
        if shown.shape not in self._inputs:
            self._inputs[shown.shape] = torch.empty_like(shown), torch.empty_like(asked)
        kept = self._inputs[shown.shape]
        for place, new in zip(kept, (shown, asked), strict=True):
            place.copy_(new)
        return kept

    def _repeatable(
        self, inputs: Pair, turn: int, absolute: bool
    ) -> Callable[[], Pair] | None:
        """Return what does a step of this kind again; None if it cannot be captured."""
        kind = turn, absolute
        if kind not in self._captured:
            try:
                self._captured[kind] = self._captures.capture(
                    lambda: self._step(*inputs, turn, self._rate, absolute)
                )
            except RuntimeError as error:
                self._fits = False
                reason = str(error).partition("\n")[0]
                warnings.warn(
                    f"steps on {self._rate.device} cannot be captured as CUDA graphs, and "
                    f"take longer without ({reason})",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return None
        return self._captured[kind]


class _CudaGraphs:
    """CUDA graphs that share their memory, since one runs after the other."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def has_room(self) -> bool:
        if available_memory("cuda") < torch.cuda.memory_reserved():
            return False
        # Graphs keep memory of their own, not what PyTorch has kept from other steps.
        release_cached_memory()
        return True

    def capture(self, work: Callable[[], Pair]) -> Callable[[], Pair]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.stream(self._stream):
            # Other threads, such as those of a viewer, may use the device meanwhile.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                results = work()
            except RuntimeError:
                # To end what has failed fails as well, and says less.
                with suppress(RuntimeError):
                    graph.capture_end()
                raise
            graph.capture_end()

        def repeat() -> Pair:
            graph.replay()
            return results

        return repeat


class _Adam:
    """Adam, through PyTorch's functional form.

    Making a ``torch.optim.Adam`` imports torch._dynamo and triton: seconds, and the
    end of a process in which a display driver has loaded another LLVM than triton's,
    as Mesa's do for napari's window.
    """

    def __init__(self, parameters: Iterable[Tensor], *, fused: bool) -> None:
        self.parameters = list(parameters)
        self._means = [torch.zeros_like(p) for p in self.parameters]
        self._squares = [torch.zeros_like(p) for p in self.parameters]
        self._fused = fused
        counting = self.parameters[0].device if fused else "cpu"
        self._steps = [
            torch.zeros((), device=counting, dtype=torch.float32) for _ in self.parameters
        ]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float | Tensor) -> None:
        """Move every parameter."""
        adam(
            self.parameters,
            [_like(p, g) for p, g in zip(self.parameters, gradients, strict=True)],
            self._means,
            self._squares,
            [],
            self._steps,
            foreach=not self._fused,
            fused=self._fused,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def _like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return a gradient in its parameter's order in memory, as one kernel for all needs."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
