"""Logits and tokens of an exported folder, by whatever version of transformers is installed. Imports nothing of lateen.

other_transformers.py FOLDER TOKENS.npy LOGITS.npy TEXT
"""

import json
import sys

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(folder: str, tokens: str, logits: str, text: str) -> None:
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", torch_dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    with torch.no_grad():
        np.save(logits, model.eval()(torch.from_numpy(np.load(tokens))).logits.numpy())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text)["input_ids"]
    told = {
        "version": transformers.__version__,
        "ids": ids,
        "text": tokenizer.decode(ids),
        "eos": tokenizer.eos_token_id,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
