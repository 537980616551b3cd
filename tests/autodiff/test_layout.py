"""A layout names the parts of one flat array; its gradient is written once."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sophia_ref as sr
from sophia_ref.autodiff import InPlaceError

SHAPES = {"W": (2, 3), "b": (3,), "scale": (), "none": (0, 4)}
layout = sr.Layout(SHAPES)
rng = np.random.default_rng(2)


def test_a_layout_knows_its_size_shapes_and_slices():
    assert layout.size == 10
    assert layout.shapes == SHAPES
    assert layout.slices == {"W": slice(0, 6), "b": slice(6, 9), "scale": slice(9, 10), "none": slice(10, 10)}
    assert repr(layout) == f"Layout({SHAPES})"


def test_unpack_gives_views_in_the_order_of_the_names():
    theta = np.arange(10.0)
    tensors = layout.unpack(theta)
    assert list(tensors) == list(SHAPES)
    np.testing.assert_array_equal(tensors["W"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["b"], [6, 7, 8])
    assert tensors["scale"] == 9
    assert tensors["none"].shape == (0, 4)
    assert np.shares_memory(tensors["W"], theta)


shapes = st.dictionaries(
    st.text(min_size=1, max_size=3), st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=4
)


@given(shapes, st.lists(st.integers(0, 3), max_size=2).map(tuple), st.sampled_from([np.float32, np.float64]))
def test_pack_is_the_inverse_of_unpack_with_any_leading_axes(shapes, lead, dtype):
    layout = sr.Layout(shapes)
    theta = np.random.default_rng(0).standard_normal((*lead, layout.size)).astype(dtype)
    tensors = layout.unpack(theta)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {n: (*lead, *s) for n, s in shapes.items()}
    np.testing.assert_array_equal(layout.pack(tensors), theta, strict=True)
    reordered = dict(reversed(tensors.items()))
    np.testing.assert_array_equal(layout.pack(reordered), theta, strict=True)


def loss(theta):
    p = layout.unpack(theta)
    return np.sum(np.tanh(np.swapaxes(p["W"], -1, -2) @ np.ones(2) + p["b"]), axis=-1) * p["scale"]


@pytest.mark.parametrize("lead", [(), (2,), (2, 1)])
def test_derivatives_through_unpack_and_pack(lead):
    theta = rng.standard_normal((*lead, 10))
    sr.check_grads(loss, theta)
    sr.check_grads(lambda theta: layout.pack({name: x * x for name, x in layout.unpack(theta).items()}), theta)


def test_names_that_are_not_used_have_gradient_zero_in_the_dtype_of_theta():
    theta = rng.standard_normal(10).astype(np.float32)
    gradient = sr.grad(lambda theta: np.sum(layout.unpack(theta)["b"]))(theta)
    np.testing.assert_array_equal(gradient, np.float32([0, 0, 0, 0, 0, 0, 1, 1, 1, 0]), strict=True)
    np.testing.assert_array_equal(sr.grad(lambda theta: layout.unpack(theta)["b"][0] * 0 + 1.0)(theta), 0 * theta)


def test_the_gradient_is_written_once_whatever_the_number_of_tensors(monkeypatch):
    many = sr.Layout({str(i): (5,) for i in range(20)})
    packed = []
    original = sr.Layout.pack
    monkeypatch.setattr(sr.Layout, "pack", lambda self, tensors: packed.append(1) or original(self, tensors))
    gradient = sr.grad(lambda theta: sum(np.sum(x**2) for x in many.unpack(theta).values()))(np.ones(100))
    np.testing.assert_array_equal(gradient, np.full(100, 2.0))
    assert len(packed) == 1


def test_a_dual_is_unpacked_into_views_so_that_writing_into_a_part_writes_into_the_whole():
    def f(theta):
        layout.unpack(theta)["b"][...] = 0.0
        return theta * theta

    theta, v = rng.standard_normal((2, 10))
    expected = 2 * theta * v
    expected[6:9] = 0
    np.testing.assert_allclose(sr.jvp(f, theta, v)[1], expected)
    with pytest.raises(InPlaceError):
        sr.vjp(f, theta)


def test_a_layout_of_one_tensor():
    one = sr.Layout({"x": (2, 2)})
    theta = rng.standard_normal((3, 4))
    sr.check_grads(lambda theta: np.linalg.det(one.unpack(theta)["x"]), theta)


def test_a_layout_pickles():
    again = pickle.loads(pickle.dumps(layout))
    assert again.shapes == layout.shapes
    sr.check_grads(lambda theta: again.unpack(theta)["W"], np.arange(10.0))


@pytest.mark.parametrize("shape", [3, [2, 3], (2, -1), (2.0,), (True,), "ab", None, (2, None)])
def test_a_shape_must_be_a_tuple_of_counts(shape):
    with pytest.raises(ValueError, match=r"Layout: the shape of 'W' must be a tuple of non-negative integers, got"):
        sr.Layout({"W": shape})


def test_a_layout_needs_a_tensor():
    with pytest.raises(ValueError, match="Layout: shapes must name at least one tensor"):
        sr.Layout({})


@pytest.mark.parametrize("theta", [np.ones(9), np.ones((10, 9)), np.array(1.0), np.float64(1.0)])
def test_theta_must_end_in_the_size(theta):
    with pytest.raises(ValueError, match=r"Layout\.unpack: theta must have shape \(\.\.\., 10\), got shape"):
        layout.unpack(theta)


def test_shapes_tensors_and_theta_of_another_kind_are_named():
    for shapes in ([("W", (2,))], "W", None, (3,)):
        with pytest.raises(TypeError, match="Layout: shapes must be a dict of names and shapes, got"):
            sr.Layout(shapes)
    layout = sr.Layout({"W": (3,)})
    for tensors in ([np.ones(3)], np.ones(3), None):
        with pytest.raises(TypeError, match=r"Layout\.pack: tensors must be a dict of names and arrays, got"):
            layout.pack(tensors)
    with pytest.raises(TypeError, match=r"Layout\.unpack: theta must be an array, got a list"):
        layout.unpack([1.0, 2.0, 3.0])


def test_pack_names_what_is_wrong():
    good = layout.unpack(np.arange(10.0))
    with pytest.raises(ValueError, match=r"Layout\.pack: tensors must be named .*'W'.*, got \['W', 'b', 'scale'\]"):
        layout.pack({name: good[name] for name in ("W", "b", "scale")})
    with pytest.raises(ValueError, match=r"Layout\.pack: tensors must be named"):
        layout.pack(good | {"extra": np.ones(2)})
    with pytest.raises(ValueError, match=r"Layout\.pack: 'b' must have shape \(\.\.\., 3\), got \(4,\)"):
        layout.pack(good | {"b": np.ones(4)})
    with pytest.raises(ValueError, match=r"Layout\.pack: 'W' must have shape \(\.\.\., 2, 3\), got \(3,\)"):
        layout.pack(good | {"W": np.ones(3)})
    with pytest.raises(
        ValueError, match=r"Layout\.pack: all tensors must have the same leading axes, got .*'b': \(5,\)"
    ):
        layout.pack(good | {"b": np.ones((5, 3))})
