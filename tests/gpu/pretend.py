"""A device `pretend` that computes on the CPU and is as strict about places as a GPU.

Tensors on it refuse to meet tensors of the CPU, except numbers and indices, and they refuse to
become numpy arrays. What runs on it puts its tensors where the model is. Leaves out: a GPU's
rounding, kernels and memory; autocast, which changes nothing there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
PLACES = ("_to_copy", "copy_")
"""Operations that move values from one device to another."""
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
"""Operations that take indices of the CPU on a GPU, too."""


class Pretend(torch.Tensor):
    """A tensor of the device, around one of the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> Pretend:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            real.shape,
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=torch.device(NAME, 0),
        )
        made.inner = real.detach()
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Pretend({self.inner})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # saved as tensors of the CPU

    def tolist(self) -> Any:
        return self.inner.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"a tensor on {NAME} cannot become a numpy array: copy it to the CPU first")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Makes what is asked for on the device, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Module(backend_registration._DummyBackendModule):  # type: ignore[misc]
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@contextmanager
def pretended() -> Iterator[None]:
    """The device exists inside. It stays registered: use a process of its own."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty, "PrivateUse1")
    library.impl("_copy_from", _copy, "PrivateUse1")
    autocast = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    autocast.fallback(torch.library.fallthrough_kernel)
    with _Everywhere():
        yield


def _computed(func: Any, args: Any, kwargs: Any) -> Any:
    """The operation on the CPU, its results on the device that they would be on."""
    name = func.overloadpacket.__name__
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    here = [one for one in tensors if isinstance(one, Pretend)]
    if here and name not in (*PLACES, *INDEXING):
        strangers = [one for one in tensors if not isinstance(one, Pretend) and one.dim()]
        # Adam's step counts stay on the CPU, one number each
        if strangers:
            shapes = [tuple(one.shape) for one in strangers]
            raise RuntimeError(f"{func} mixes devices: of the CPU are {shapes}")
    result = func(*tree_map(_real, args), **tree_map(_real, kwargs))
    asked = kwargs.get("device")
    stays = bool(here) if asked is None else torch.device(asked).type == NAME
    if name == "copy_":
        return args[0]
    if name == "_local_scalar_dense" or not stays:
        return result
    known = {id(one.inner): one for one in here}  # an operation in place gives its own tensor back

    def wrapped(one: Any) -> Any:
        if not isinstance(one, torch.Tensor):
            return one
        return known[id(one)] if id(one) in known else Pretend(one)

    return tree_map(wrapped, result)


def _real(one: Any) -> Any:
    if isinstance(one, torch.device):
        return torch.device("cpu")
    return one.inner if isinstance(one, Pretend) else one


def _empty(size: Any, stride: Any = None, *, dtype: Any = None, **_: Any) -> Pretend:
    whole = torch.empty(size, dtype=dtype)
    return Pretend(whole if stride is None else torch.empty_strided(size, stride, dtype=dtype))


def _copy(source: Any, into: Any, non_blocking: bool = False) -> Any:
    _real(into).copy_(_real(source))
    return into
