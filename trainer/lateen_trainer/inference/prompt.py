"""The tokens of a prompt."""

from lateen_trainer.data.tokenizer import HuggingFaceTokenizer
from lateen_trainer.errors import UserError
from lateen_trainer.inference.source import Source


def prompt_tokens(source: Source, text: str) -> list[int]:
    """A text to continue.

    A checkpoint of lateen gets the text's tokens alone, as its documents were; an empty text begins behind the end of
    another one. A model of Hugging Face's format gets the special tokens that its tokenizer puts before a text, too.
    """
    tokenizer = source.tokenizer
    if source.is_trained_here or not isinstance(tokenizer, HuggingFaceTokenizer):
        tokens = tokenizer.encode_batch([text])[0].tolist()
    else:
        tokens = tokenizer.encode_with_special_tokens(text)
    return tokens or [tokenizer.eos_id]


def chat_tokens(source: Source, text: str) -> list[int]:
    """A message of a user, and the beginning of the answer, in the form of the tokenizer's chat template.

    Raises:
        UserError: the tokenizer has none, or it cannot be used.
    """
    from transformers import AutoTokenizer  # takes seconds: only where it is needed

    where = source.tokenizer_location
    advice = "Leave --chat out, and write the prompt as the model expects it."
    if where == "bytes":
        raise UserError(f"--chat: the tokenizer 'bytes' has no chat template. {advice}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(where)
    except Exception as error:  # from anything that the files may hold
        raise UserError(f"--chat: transformers cannot load the tokenizer {where!r}: {error}. {advice}") from error
    if not tokenizer.chat_template:
        raise UserError(
            f"--chat: the tokenizer {where!r} has no chat template: expected chat_template in its "
            f"tokenizer_config.json, or a chat_template.jinja. {advice}"
        )
    messages = [{"role": "user", "content": text}]
    try:
        tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    except ImportError as error:
        raise UserError(f"--chat needs jinja2 ({error}). Install it: pip install jinja2.") from error
    except Exception as error:  # of the template
        raise UserError(f"--chat: the chat template of {where!r} fails: {error}. {advice}") from error
    return [int(token) for token in tokens]
