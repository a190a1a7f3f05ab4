"""Activations by the names that `config.json` has for them."""

import haliax as hax
import numpy as np
import pytest
import torch
from haliax import Axis
from lateen_api.hugging_face.families import ACTIVATIONS as NAMES
from lateen_trainer.models.layers import ACTIVATIONS
from transformers.activations import ACT2FN

X = np.linspace(-8, 8, 4001, dtype=np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_the_function_that_transformers_has_for_it(name):
    ours = ACTIVATIONS[NAMES[name]](hax.named(X, (Axis("x", X.size),))).array

    np.testing.assert_allclose(np.asarray(ours), ACT2FN[name](torch.from_numpy(X)).numpy(), atol=1e-6)
