"""Tokens of small models: beside transformers, and what they depend on."""

from typing import Any

import jax
import numpy as np
import pytest
import torch
from lateen_trainer.generate.decode import ENDED, _next, generate
from lateen_trainer.generate.sampling import Sampling
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.models.mpt import Mpt, MptConfig
from trainer.hugging_face.folders import load, random_reference
from trainer.models.small_specs import ALL, GPT2, MPT, VOCAB, small_spec
from trainer.models.test_mpt import random_tensors, with_tensors
from transformers import MptConfig as TransformersConfig
from transformers import MptForCausalLM

GREEDY = Sampling(temperature=0)
PROMPT = [3, 1, 4, 1, 5, 9]
NEW = 18


def tokens_of(model: Any, prompt: list[int] = PROMPT, *, seed: int = 0, **options: Any) -> np.ndarray:
    """[sample, number]"""
    options = {"length": NEW, "sampling": Sampling(), **options}
    return np.stack(list(generate(model, prompt, key=jax.random.key(seed), **options)), axis=1)


def tokens_of_transformers(reference: Any) -> list[int]:
    prompt = torch.tensor([PROMPT])
    options = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with torch.no_grad():
        return reference.generate(prompt, attention_mask=torch.ones_like(prompt), **options)[0, len(PROMPT) :].tolist()


@pytest.fixture(scope="module")
def gpt2() -> Any:
    return init_model(make_config(small_spec({**GPT2, "initializerRange": 0.2}), VOCAB), key=jax.random.key(0))


@pytest.mark.parametrize("name", ["gpt2", "llama 3", "mistral", "qwen3"])
def test_the_likeliest_tokens_are_those_of_transformers(name: str, tmp_path):
    """The sequence grows longer than the window, and than the original context of the rotary embeddings."""
    spec = small_spec(ALL[name])
    reference = random_reference(spec, VOCAB)
    reference.save_pretrained(tmp_path)

    found = tokens_of(load(tmp_path, spec, VOCAB), sampling=GREEDY)[0].tolist()

    assert found == tokens_of_transformers(reference)
    assert len(set(found)) > 2  # no token again and again, which would hide a mistake


def test_the_likeliest_tokens_of_mpt_are_those_of_transformers():
    spec = small_spec({**MPT, "numHeads": 6})
    tensors = {name: tensor.detach() for name, tensor in random_tensors(spec).items()}
    reference = MptForCausalLM(
        TransformersConfig(
            d_model=48, n_heads=6, n_layers=2, max_seq_len=64, vocab_size=VOCAB, attn_config={"clip_qkv": None}
        )
    ).eval()
    reference.load_state_dict({f"transformer.{name}": tensor for name, tensor in tensors.items()}, strict=False)
    model = with_tensors(
        Mpt.init(MptConfig(spec, VOCAB), key=jax.random.key(0)), {name: x.numpy() for name, x in tensors.items()}
    )

    assert tokens_of(model, sampling=GREEDY)[0].tolist() == tokens_of_transformers(reference)


def test_a_sample_depends_on_the_seed_and_its_number_alone(gpt2):
    alone, beside_others = tokens_of(gpt2), tokens_of(gpt2, samples=3)

    np.testing.assert_array_equal(alone[0], beside_others[0])
    np.testing.assert_array_equal(beside_others, tokens_of(gpt2, samples=3))
    assert not (beside_others[0] == beside_others[1]).all()
    assert not (alone == tokens_of(gpt2, seed=1)).all()


def test_a_sample_ends_with_a_stop_and_the_others_go_on(gpt2):
    whole = tokens_of(gpt2, samples=3)
    stop = int(whole[0, 4])

    ended = tokens_of(gpt2, samples=3, stops={stop})

    for row, expected in zip(ended, whole, strict=True):
        places = np.flatnonzero(expected == stop)
        count = places[0] + 1 if places.size else NEW
        np.testing.assert_array_equal(row[:count], expected[:count])
        assert (row[count:] == ENDED).all()
    assert tokens_of(gpt2, stops={stop}).shape == (1, np.flatnonzero(whole[0] == stop)[0] + 1)


def test_only_tokens_of_the_tokenizer_are_drawn(gpt2):
    assert tokens_of(gpt2, samples=3).max() > 5
    assert tokens_of(gpt2, samples=3, sampling=Sampling(50.0), vocab_size=5).max() == 4


def test_one_program_serves_all_tokens_and_prompts_of_any_length(gpt2):
    before = _next._cache_size()
    tokens_of(gpt2, PROMPT, length=8, capacity=20)
    tokens_of(gpt2, PROMPT * 2, length=8, capacity=20)
    assert _next._cache_size() == before + 1


def test_a_model_that_is_divided_over_devices_writes_the_same(gpt2):
    rules = ShardingRules(make_mesh(4, 2, jax.devices()))
    divided = jax.device_put(gpt2, rules.shardings(gpt2))

    np.testing.assert_array_equal(tokens_of(divided), tokens_of(gpt2))
