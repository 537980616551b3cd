"""The example: the tiny GPT in JAX, beside NumPy."""

from tests.ports.beside_numpy import assert_losses_are_numpys


def test_losses_are_numpys_to_1e_4_over_200_steps_and_in_float64_to_1e_9_over_50(port, tmp_path):
    assert_losses_are_numpys("optax", tmp_path)
