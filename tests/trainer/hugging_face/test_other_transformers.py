"""Exported folders in another version of transformers, in an environment of its own.

    LATEEN_OTHER_TRANSFORMERS=/path/to/venv/bin/python pytest tests/trainer/hugging_face/test_other_transformers.py

The environment needs torch and transformers, 4.57 for instance.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from lateen_api.hugging_face.config import read_model
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.export import ExportedModel, export_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from trainer.hugging_face.folders import load, logits_of, random_reference, read_config
from trainer.hugging_face.test_export import import_and_export
from trainer.models.small_specs import ALL, IN_TRANSFORMERS, small_spec

PYTHON = os.environ.get("LATEEN_OTHER_TRANSFORMERS")
SCRIPT = Path(__file__).with_name("other_transformers.py")
TEXT = "Grüße, “world”\n\t 12 🙂 and the end"
VOCAB = 300

pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="LATEEN_OTHER_TRANSFORMERS names no Python with another transformers"
)


def asked(folder: Path, tokens: np.ndarray) -> tuple[dict, np.ndarray]:
    """What the other version says of a folder."""
    np.save(folder / "tokens.npy", tokens)
    command = [str(PYTHON), SCRIPT, folder, folder / "tokens.npy", folder / "logits.npy", TEXT]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), np.load(folder / "logits.npy")


@pytest.mark.parametrize("imported", [False, True], ids=["new", "imported"])
@pytest.mark.parametrize("name", IN_TRANSFORMERS)
def test_logits_and_tokens_are_equal(name, imported, tmp_path):
    spec = small_spec(ALL[name])
    source, target = tmp_path / "source", tmp_path / "target"
    random_reference(spec, VOCAB).save_pretrained(source)
    model = load(source, spec, VOCAB)
    if imported:
        assert read_model(read_config(source)).type == spec.type
        import_and_export(source, target)
    else:
        about = ExportedModel(spec, VOCAB, "bytes", 256, "# Card\n")
        export_model(model, about, Destination(str(target), field="FOLDER"), file_bytes=1 << 30)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, 24))

    told, logits = asked(target, tokens)

    np.testing.assert_allclose(logits_of(model, tokens), logits, atol=1e-4, rtol=1e-4)
    assert (told["ids"], told["text"], told["eos"]) == (list(TEXT.encode()), TEXT, 256)


def test_tokens_of_a_trained_tokenizer_are_equal(tmp_path):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["the end of the world and the other end"] * 20, trainer)
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    # As version 5 writes it: 4 knows neither the class nor a list of extra tokens.
    config = {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "extra_special_tokens": []}
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    spec = small_spec(ALL["gpt2"])
    random_reference(spec, VOCAB).save_pretrained(tmp_path / "source")
    name = str(tmp_path / "tokenizer")
    ours = load_tokenizer(name)
    model = load(tmp_path / "source", spec, VOCAB)
    about = ExportedModel(spec, VOCAB, name, ours.eos_id, "# Card\n")
    export_model(model, about, Destination(str(tmp_path / "target"), field="FOLDER"), file_bytes=1 << 30)

    told, _ = asked(tmp_path / "target", np.zeros((1, 4), np.int64))

    assert told["ids"] == ours.encode_batch([TEXT])[0].tolist()
    assert (told["text"], told["eos"]) == (TEXT, ours.eos_id)
