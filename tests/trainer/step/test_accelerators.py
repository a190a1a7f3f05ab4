"""The step compiled for accelerators that are described, not present; each needs its plugin (extras cuda and tpu)."""

import importlib.util
from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import pytest
from haliax import Axis
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec
from lateen_api.spec import AdamWSpec, Gpt2Spec
from lateen_trainer.data.batch import Batch
from lateen_trainer.generate.decode import _first, _next
from lateen_trainer.generate.sampling import Sampling
from lateen_trainer.mesh import DATA, ShardingRules, make_mesh
from lateen_trainer.models.attention import causal_attention
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.state import TrainState, state_shapes
from lateen_trainer.step.train_step import StepSettings, make_eval_step, make_train_step

H100 = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 48 << 10,
    "shared_memory_per_block_optin": 227 << 10,
    "shared_memory_per_core": 228 << 10,
    "threads_per_core_limit": 2048,
    "core_count": 132,
    "fpus_per_core": 128,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 2**16 - 1,
    "block_dim_limit_z": 2**16 - 1,
    "memory_bandwidth": 3_352 * 10**9,
    "l2_cache_size": 50 << 20,
    "clock_rate_ghz": 1.98,
    "device_memory_size": 79 << 30,
    "registers_per_core_limit": 1 << 16,
    "registers_per_block_limit": 1 << 16,
}
CONTEXT = 256
OPTIMIZER = AdamWSpec(learning_rate=1e-3)


def h100s(monkeypatch) -> list:
    """Eight of one host."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    figures = " ".join(f"{name}: {value}" for name, value in H100.items())
    target = (
        f"gpu_device_info {{ {figures} cuda_compute_capability {{ major: 9 }} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 26 } device_description_str: "NVIDIA H100 80GB HBM3"'
    )
    return topologies.get_topology_desc("h100", "cuda", topology="1x1x8", target_config=target).devices


def v5es(monkeypatch) -> list:
    """Eight of one host."""
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    return topologies.get_topology_desc("v5e:2x4", "tpu").devices


PLATFORMS = [
    pytest.param(
        devices,
        kernel,
        id=devices.__name__,
        marks=pytest.mark.skipif(not importlib.util.find_spec(module), reason=f"needs lateen's extra {extra}"),
    )
    for devices, kernel, module, extra in (
        (h100s, "__cudnn$fmha", "jax_cuda13_plugin", "cuda"),
        (v5es, "splash", "libtpu", "tpu"),
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("elastic", [False, True], ids=["fast", "elastic"])
@pytest.mark.parametrize(("data", "model"), [(8, 1), (4, 2), (1, 8)], ids=["8x1", "4x2", "1x8"])
@pytest.mark.parametrize(("devices", "kernel"), PLATFORMS)
def test_the_step_compiles_with_the_platforms_own_attention(devices, kernel, data, model, elastic, monkeypatch):
    """Half a minute or less each: what no run on a CPU reaches, the kernels and their place on the mesh."""
    settings, state = described(devices(monkeypatch), data, model, elastic=elastic)

    assert kernel in make_train_step(settings).lower(state, Batch(batch(settings))).compile().as_text()


@pytest.mark.slow
@pytest.mark.parametrize("elastic", [False, True], ids=["fast", "elastic"])
@pytest.mark.parametrize(("devices", "kernel"), PLATFORMS)
def test_evaluation_compiles_with_the_platforms_own_attention(devices, kernel, elastic, monkeypatch):
    """Half a minute or less each."""
    settings, state = described(devices(monkeypatch), 4, 2, elastic=elastic)
    tokens = batch(settings)
    weights = jax.ShapeDtypeStruct(tokens.shape[:2], jnp.float32, sharding=tokens.sharding)

    assert kernel in make_eval_step(settings).lower(state.model, Batch(tokens), weights).compile().as_text()


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "kernel"), PLATFORMS)
def test_generation_compiles_without_a_kernel(devices, kernel, monkeypatch):
    """Half a minute or less each: the partitioner, which divides generation, would meet the kernel."""
    _, state = described(devices(monkeypatch), 4, 2, elastic=True)
    mesh = jax.tree.leaves(state.model)[0].sharding.mesh
    prompt = jax.ShapeDtypeStruct((1, CONTEXT), jnp.int32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    options = {"sampling": Sampling(0.8), "vocab_size": 97, "replicated": NamedSharding(mesh, PartitionSpec())}

    first = _first.lower(state.model, prompt, 8, keys, capacity=CONTEXT, **options)
    tokens, cache = first.out_info
    following = _next.lower(state.model, tokens, cache, keys, 1, **options)

    for program in (first, following):
        assert kernel not in program.compile().as_text()


OPTIONS: dict[str, dict[str, Any]] = {
    "grouped": {},
    "window": {"window": 100},
    "window of some layers": {"window": 100, "windowed": ()},
    "segments": {"segments": ("batch", "position")},
    "ALiBi": {"alibi": ("heads", "group")},
    "bias": {"bias": ("heads", "position", "key_position")},
    "all": {
        "window": 100,
        "segments": ("batch", "position"),
        "alibi": ("heads", "group"),
        "bias": ("batch", "position", "key_position"),
    },
}
"""Arguments of causal_attention, arrays by their axes."""

NOT_BY_SPLASH = {"ALiBi", "bias", "all"}


@pytest.mark.slow
@pytest.mark.parametrize("model", [1, 2, 4], ids="model axis of {}".format)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(("devices", "kernel"), PLATFORMS)
def test_grouped_attention_compiles_with_all_that_changes_the_scores(devices, kernel, option, model, monkeypatch):
    """Seconds each. Two heads of keys, which a model axis of four cannot divide: each of its devices computes both."""
    mesh = make_mesh(8 // model, model, devices(monkeypatch))
    sizes = {"batch": 2, "position": CONTEXT, "key_position": CONTEXT, "heads": 2, "group": 4, "head_size": 64}
    static: dict[str, Any] = {name: value for name, value in OPTIONS[option].items() if isinstance(value, int)}
    names = {
        "query": ("batch", "position", "heads", "group", "head_size"),
        "key": ("batch", "position", "heads", "head_size"),
        "value": ("batch", "position", "heads", "head_size"),
        **{name: value for name, value in OPTIONS[option].items() if not isinstance(value, int)},
    }
    dtypes = {"query": "bfloat16", "key": "bfloat16", "value": "bfloat16", "segments": "int32", "windowed": "bool"}
    specs = {name: PartitionSpec(DATA if "batch" in axes else None) for name, axes in names.items() if axes}
    specs["windowed"] = PartitionSpec()

    def described(name: str) -> jax.ShapeDtypeStruct:
        """An array of all devices."""
        shape = [sizes[axis] * (mesh.shape[DATA] if axis == "batch" else 1) for axis in names[name]]
        return jax.ShapeDtypeStruct(shape, dtypes.get(name, "float32"), sharding=NamedSharding(mesh, specs[name]))

    def loss(arrays: dict[str, jax.Array]) -> jax.Array:
        arguments: dict[str, Any] = {
            name: hax.named(array, tuple(Axis(axis, sizes[axis]) for axis in names[name])) if names[name] else array
            for name, array in arrays.items()
        }
        platform = mesh.devices.flat[0].platform
        return causal_attention(**arguments, **static, scale=0.125, platform=platform).array.astype(jnp.float32).sum()

    def gradients(arrays):
        trained = {name: arrays.pop(name) for name in ("query", "key", "value")}
        return jax.grad(lambda trained: loss({**trained, **arrays}))(trained)

    arrays = {name: described(name) for name in names}
    step = jax.shard_map(
        gradients,
        mesh=mesh,
        in_specs=({name: specs[name] for name in names},),
        out_specs=specs["query"],
        axis_names={DATA},
        check_vma=False,
    )

    text = jax.jit(step).lower(arrays).compile().as_text()

    assert (kernel in text) == (kernel != "splash" or option not in NOT_BY_SPLASH)


def described(devices: list, data: int, model: int, *, elastic: bool) -> tuple[StepSettings, TrainState]:
    """Settings of a small model's step on a mesh of these devices, and the shapes of its state."""
    rules = ShardingRules(make_mesh(data, model, devices))
    config = Gpt2Config(Gpt2Spec(seq_len=CONTEXT, hidden_dim=512, num_layers=2, num_heads=8), 512, rules.platform)
    optimizer = make_optimizer(OPTIMIZER, num_steps=10)
    state = state_shapes(lambda: Gpt2.init(config, key=jax.random.key(0)), optimizer, rules)
    schedule = learning_rate_schedule(OPTIMIZER, num_steps=10)
    return StepSettings(rules, optimizer, schedule, jnp.dtype("bfloat16"), True, None, elastic=elastic), state


def batch(settings: StepSettings) -> jax.ShapeDtypeStruct:
    """Tokens of two microbatches."""
    sharding = NamedSharding(settings.rules.mesh, PartitionSpec(None, DATA))
    return jax.ShapeDtypeStruct((2, 16, CONTEXT + 1), jnp.int32, sharding=sharding)
