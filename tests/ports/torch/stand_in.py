"""A stand-in for a GPU's tensors where there is no GPU."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
tree_leaves = torch.utils._pytree.tree_leaves


class OnDevice(torch.Tensor):
    """A tensor that NumPy does not see, and that does not mix with those of the CPU, but for 0-d ones."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if mixed := [x for x in tensors if not isinstance(x, cls) and x.ndim]:
            raise RuntimeError(f"{function.__name__}: expected all tensors to be on the device, got {mixed[0]}")
        if function.__name__ in ("numpy", "__array__"):
            raise TypeError("can't convert a tensor of the device to numpy")
        if function.__name__ == "cpu":
            return args[0].detach().as_subclass(torch.Tensor)
        return super().__torch_function__(function, types, args, kwargs or {})
