"""Start from a random Llama in Hugging Face's format: bytes read and memory of each process.

    python tests/benchmarks/bench_import.py [--billions 1.1] [--processes 2 4]

Writes five files of bfloat16, and has several processes on this machine make the state of a training run of it
(float32 parameters and AdamW's two means). Prints what each process read, and its peak memory beside its share.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from lateen_api.hugging_face.config import write_config
from lateen_api.spec import LlamaSpec
from lateen_trainer.hugging_face.safetensors import DTYPES, TensorEntry, make_header
from lateen_trainer.hugging_face.weights import INDEX
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.models.llama import TENSORS
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from trainer.hugging_face.gang import together

FILES = 5
VOCAB = 32_000
BLOCK = 8 << 20
Tensor = tuple[str, str, tuple[int, ...]]


def spec_of(billions: float) -> LlamaSpec:
    """A Llama of about so many parameters, in the proportions of TinyLlama's 1.1 billion (22 layers of 2,048)."""
    layers = max(1, round(22 * (billions * 1e9 - 2 * VOCAB * 2048) / 0.97e9))
    return LlamaSpec.model_validate(
        {
            "type": "llama",
            "hiddenDim": 2048,
            "intermediateDim": 5632,
            "numLayers": layers,
            "numHeads": 32,
            "numKvHeads": 4,
        }
    )


def write_folder(folder: Path, spec: LlamaSpec) -> int:
    """A model with random weights; its bytes."""
    import jax
    from lateen_trainer.checkpoint.state import named_leaves

    config = make_config(spec, VOCAB)
    leaves = named_leaves(jax.eval_shape(lambda: init_model(config, key=jax.random.key(0))))
    tensors: list[Tensor] = []
    for leaf in leaves:
        sizes = dict(zip(leaf.axes or (), leaf.shape, strict=True))
        array = TENSORS.of([leaf.name])[leaf.name]
        tensors += [(name, "BF16", array.shape(sizes)) for name, _ in array.tensors(sizes)]
    tensors.sort()
    sizes = [TensorEntry(dtype, shape, 0).nbytes for _, dtype, shape in tensors]
    ends = np.cumsum(sizes) * FILES // (sum(sizes) + 1)
    weight_map = {}
    rng = np.random.default_rng(0)
    for number in range(FILES):
        name = f"model-{number + 1:05d}-of-{FILES:05d}.safetensors"
        held = [tensor for tensor, place in zip(tensors, ends, strict=True) if place == number]
        weight_map |= {tensor: name for tensor, _, _ in held}
        with (folder / name).open("wb") as file:
            file.write(make_header(held, {"format": "pt"})[0])
            for _, dtype, shape in held:
                left = TensorEntry(dtype, shape, 0).nbytes
                while left:
                    values = rng.standard_normal(min(left, BLOCK) // 2, np.float32) * 0.02
                    file.write(values.astype(DTYPES[dtype]).tobytes())
                    left -= 2 * values.size
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(write_config(spec, VOCAB)))
    return sum(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--billions", type=float, default=1.1, help="parameters")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument(
        "--folder", type=Path, help="write the model there, such as in the folder of an emulated bucket"
    )
    parser.add_argument("--url", help="read it from there: gs://bucket/model with STORAGE_EMULATOR_HOST set")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        size = write_folder(folder, spec_of(arguments.billions))
        print(f"{size / 2:,.0f} parameters, {size / 1e9:.2f} GB of bfloat16 in {FILES} files")
        for count in arguments.processes:
            for number, (took,) in enumerate(
                together(count, ["start", {"url": arguments.url or str(folder)}], seconds=1800)
            ):
                read, state, peak, before = (took[name] / 1e9 for name in ("bytes", "share", "peak", "before"))
                print(
                    f"{count} processes, {number}: read {read:.2f} GB in {took['reads']:,} reads and "
                    f"{took['seconds']:.0f} s; state {state:.2f} GB, peak memory {peak:.2f} GB ({peak / state:.2f} of "
                    f"it; {before:.2f} GB before)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
