"""The estimate of memory."""

import json

import pytest
from crds.jobs import small
from lateen_api.plan import make_plan
from lateen_api.plan.memory import positions_in_a_chunk
from lateen_api.plan.result import Memory

PARAMETERS = 124_439_808


def memory_of(*overrides: str, gpus: int = 1) -> Memory:
    accelerator = f"compute={{accelerator: nvidia-a100-80gb, gpusPerHost: {gpus}}}"
    return make_plan(
        small(
            accelerator, "trainer={perDeviceParallelism: 8, reproducibility: fast, mp: 'p=f32,c=bfloat16'}", *overrides
        )
    ).memory


def test_state_is_four_bytes_a_parameter_and_two_moments():
    memory = memory_of()
    assert (memory.parameters, memory.optimizer) == (4 * PARAMETERS, 8 * PARAMETERS)


def test_state_is_divided_over_the_devices():
    memory = memory_of(gpus=8)
    assert (memory.parameters, memory.optimizer) == (PARAMETERS // 2, PARAMETERS)


def test_gradients_are_added_up_if_there_are_several_microbatches():
    assert memory_of().gradients == 8 * PARAMETERS
    assert memory_of("trainer.trainBatchSize=8", "trainer.mp=f32").gradients == 4 * PARAMETERS


def test_a_lone_gradient_is_there_in_the_computations_type_and_in_float32():
    assert memory_of("trainer.trainBatchSize=8").gradients == (4 + 2) * PARAMETERS


def test_gradients_of_a_small_model_are_whole_until_they_are_reduced():
    assert memory_of(gpus=8).gradients == 8 * PARAMETERS + PARAMETERS // 2


def test_elastic_mode_holds_a_sum_for_each_level_of_the_tree_over_a_devices_lanes():
    elastic = "trainer={trainBatchSize: 512, lanes: 64, mp: 'p=f32,c=bfloat16'}"
    assert memory_of(elastic).gradients == 4 * PARAMETERS * (1 + 6)
    assert memory_of(elastic, gpus=8).gradients == 4 * PARAMETERS * (1 + 3) + PARAMETERS // 2


def test_gradients_of_a_large_model_are_divided():
    large = "model={hiddenDim: 1024, numHeads: 16, numLayers: 24}"
    assert memory_of(large, gpus=8).gradients == 354_823_168


def test_activations_are_not_divided():
    gathered = 2 * PARAMETERS
    assert memory_of(gpus=8).activations == memory_of().activations + gathered


def test_total_is_the_sum():
    memory = memory_of()
    assert memory.total == memory.parameters + memory.optimizer + memory.gradients + memory.activations


def test_activations_grow_with_the_microbatch():
    one, two = (memory_of(f"trainer.perDeviceParallelism={size}").activations for size in (8, 16))
    one_layer = 8 * 1024 * 768 * 2
    # Kept are the inputs of 12 layers. A block of 16 sequences needs more than a chunk's logits, of 8 it does not.
    kept, block, logits = 12 * one_layer, 17 * one_layer, 1024 * 50_257 * (4 + 2)
    assert block < logits < 2 * block
    assert (one, two) == (kept + logits, 2 * kept + 2 * block)


def test_keeping_all_activations_takes_more():
    assert memory_of("model.gradientCheckpointing=false").activations > 2 * memory_of().activations


def test_dropout_of_attention_weights_keeps_them():
    weights = 3 * 4 * 8 * 12 * 1024 * 1024
    kept, block = (layers * 8 * 1024 * 768 * 2 for layers in (12, 17))
    assert memory_of("model.attnPdrop=0.1").activations == kept + block + weights


def test_embeddings_and_norms_are_on_all_devices_that_split_a_layer():
    embeddings, last_norm = (50_257 + 1_024) * 768, 2 * 768
    whole_of_a_block = 6 * 768  # two norms, and the biases of the two projections into the residual stream
    divided = PARAMETERS - embeddings - last_norm - 12 * whole_of_a_block
    part = (PARAMETERS - divided + divided // 2) // 4
    assert memory_of("trainer.modelAxisSize=2", gpus=8).parameters == 4 * part


@pytest.mark.parametrize(
    ("positions", "chunk"),
    [(512, 512), (4 * 1024, 1024), (16 * 1024, 1024), (32 * 1024, 1024), (10 * 1024, 1280), (8191, 1171)],
)
def test_logits_are_held_for_chunks_that_divide_the_positions_where_they_can(positions, chunk):
    assert positions_in_a_chunk(positions, 50_257) == chunk


def test_memory_of_a_cpu_host_is_shared_by_its_devices():
    memory = make_plan(small("compute={cpu: 4, memory: 64Gi}")).memory
    assert memory.available == 16 * 2**30


def test_memory_of_a_cpu_host_is_not_known_unless_the_pod_asks_for_some():
    assert make_plan(small()).memory.available is None


def test_tight_memory_gets_a_warning():
    plan = make_plan(
        small(
            "compute={accelerator: nvidia-l4, gpusPerHost: 1}",
            "trainer.reproducibility=fast",
            "trainer.perDeviceParallelism=512",
        )
    )
    assert plan.warnings == [
        "Memory may run out: a device needs about 23.8 GiB of 22.0 GiB. A smaller "
        "spec.trainer.perDeviceParallelism, more hosts or a larger spec.trainer.modelAxisSize need less."
    ]


LLAMA = {"type": "llama", "hiddenDim": 1024, "intermediateDim": 2816, "numLayers": 8, "numHeads": 16, "numKvHeads": 4}


def activations_of(*overrides: str, gpus: int = 1, **fields: object) -> int:
    model = {**LLAMA, "seqLen": 1024, **fields}
    return memory_of("data.tokenizer=bytes", f"model={json.dumps(model)}", *overrides, gpus=gpus).activations


def test_a_llama_keeps_inputs_of_layers_and_what_a_block_at_work_computes():
    tokens, size = 8 * 1024, 2
    kept = 8 * tokens * 1024 * size
    queries, keys, mlp = 1024, 256, 2816
    # Two norms, two outputs, residual; queries and keys before and behind the rotation, values and their sums; the MLP.
    block = tokens * (5 * 1024 + 2 * (queries + keys) + keys + queries + 3 * mlp) * size
    assert activations_of() == kept + block


def test_fewer_heads_of_keys_take_less_and_normalised_ones_more():
    tokens, size, head_size = 8 * 1024, 2, 64
    assert activations_of(numKvHeads=16) - activations_of(numKvHeads=4) == tokens * 3 * 12 * head_size * size
    plain, normed = (activations_of(type=name, headDim=head_size) for name in ("qwen2", "qwen3"))
    assert normed - plain == tokens * (16 + 4) * head_size * size


def test_a_large_llama_is_gathered_block_by_block_with_both_of_its_large_tables():
    """Of 8 devices; the output layer is another table than the embedding unless they are tied."""
    large = {"hiddenDim": 2048, "numHeads": 32, "intermediateDim": 8192}
    untied, tied = (
        activations_of("data.tokenizer=gpt2", gpus=8, **large, tieWordEmbeddings=is_tied) for is_tied in (False, True)
    )
    assert untied - tied == 50_257 * 2048 * (2 + 4)


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [
        ("adamw", 2 * PARAMETERS),
        ("sophia-g", 2 * PARAMETERS),
        ("lion", PARAMETERS),
        # Momentum of the matrices of blocks, of which there are 12 × (4 + 8) × 768², and two means of the others.
        ("muon", 2 * PARAMETERS - 12 * 12 * 768 * 768),
    ],
)
def test_each_optimizer_keeps_its_own_state(optimizer, numbers):
    assert memory_of(f"optimizer.type={optimizer}").optimizer == 4 * numbers


def test_adafactor_keeps_less_than_a_hundredth():
    assert 0 < memory_of("optimizer.type=adafactor").optimizer < 4 * PARAMETERS / 100


def test_averaged_weights_are_as_many_as_the_parameters():
    assert memory_of("trainer.ema={}", "trainer.perDeviceParallelism=8").optimizer == 3 * 4 * PARAMETERS


def test_sophia_holds_a_gradient_more_while_it_estimates():
    assert memory_of("optimizer.type=sophia-g").gradients == memory_of().gradients + 4 * PARAMETERS
    assert memory_of("optimizer.type=sophia-h").activations > 2 * memory_of("optimizer.type=sophia-g").activations


def test_a_backpack_recomputes_its_sense_vectors_from_two_arrays():
    """Which are kept like the inputs of layers. The senses at work are more than any layer's activations."""
    tokens, width, senses, size = 8 * 512, 768, 16, 2
    made = 7 * width + 2 * 4 * width + 2 * 4 * width  # three norms, two residuals, queries and keys; two MLPs
    weighed = 5 * senses * width  # senses, sums in float32 and in bfloat16, a gradient

    memory = memory_of("data.tokenizer=bytes", "model={type: backpack}")

    assert memory.activations == tokens * ((12 + 2) * width + made + weighed) * size


def test_a_large_backpack_gathers_the_network_of_its_senses_with_its_embedding():
    """And their gradients; it is in no block, so all of it is there at once."""
    width, tokens = 1536, 8 * 512

    def activations(scale: int) -> int:
        model = f"{{type: backpack, hiddenDim: {width}, numHeads: 16, senseIntermediateScale: {scale}}}"
        return memory_of("data.tokenizer=bytes", f"model={model}", gpus=8).activations

    added = 2 * width * (width + 1 + 16 * width)
    assert activations(6) - activations(4) == added * (2 + 4) + tokens * 2 * 2 * width * 2
