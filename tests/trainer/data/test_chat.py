"""Conversations: tokens, and exactly which of them are the assistant's, under templates in the style of seven families.

The reference renders a conversation up to each turn by Jinja itself, tokenises what it got, and compares tokens.
"""

import jinja2
import jinja2.ext
import numpy as np
import pytest
import tokenizers
from lateen_trainer.data.chat import (
    ChatEncoder,
    ChatTemplate,
    ConversationError,
    special_tokens_of,
    template_of,
)
from lateen_trainer.errors import UserError
from tokenizers import decoders, models, pre_tokenizers

Turns = list[tuple[str, str]]

BOS, EOS = "<s>", "</s>"
SPECIAL = [
    "<|endoftext|>", BOS, EOS, "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "[INST]", "[/INST]",
]  # fmt: skip

TEMPLATES = {
    "chatml": """
{%- for m in messages -%}
<|im_start|>{{ m.role + '\n' + m.content }}<|im_end|>{{ '\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}<|im_start|>{{ 'assistant\n' }}{% endif -%}""",
    "llama-2": """
{%- set ns = namespace(system='') -%}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{%- set ns.system = '<<SYS>>\n' + m.content + '\n<</SYS>>\n\n' -%}
{%- elif m.role == 'user' -%}{{ bos_token }}[INST] {{ ns.system + m.content.strip() }} [/INST]{%- set ns.system = '' -%}
{%- else -%}{{ ' ' + m.content.strip() + ' ' + eos_token }}{%- endif -%}
{%- endfor -%}""",
    "llama-3": """
{{- bos_token -}}
{%- for m in messages -%}
<|start_header_id|>{{ m.role }}<|end_header_id|>{{ '\n\n' + m.content | trim }}<|eot_id|>
{%- endfor -%}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{{ '\n\n' }}{% endif -%}""",
    "mistral": """
{{- bos_token -}}
{%- for m in messages if m.role != 'system' -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('roles must alternate') }}{%- endif -%}
{%- if m.role == 'user' -%}[INST] {{ m.content }} [/INST]{%- else -%}{{ m.content + eos_token }}{%- endif -%}
{%- endfor -%}""",
    "gemma": """
{{- bos_token -}}
{%- for m in messages if m.role != 'system' -%}
<start_of_turn>{{ ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim }}<end_of_turn>{{ '\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}<start_of_turn>{{ 'model\n' }}{% endif -%}""",
    "zephyr": """
{%- for m in messages -%}
<|{{ m.role }}|>{{ '\n' + m.content + eos_token + '\n' }}
{%- if loop.last and add_generation_prompt %}<|assistant|>{% endif -%}
{%- endfor -%}""",
    "phi": """
{%- for m in messages -%}<|{{ m.role }}|>{{ '\n' + m.content }}<|end|>{{ '\n' }}{%- endfor -%}
{%- if add_generation_prompt %}<|assistant|>{{ '\n' }}{% endif -%}""",
}

MARKED = """
{%- for m in messages -%}
<|im_start|>{{ m.role + '\n' }}
{%- if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}
{%- else %}{{ m.content }}<|im_end|>{% endif %}{{ '\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}<|im_start|>{{ 'assistant\n' }}{% endif -%}"""

CONVERSATIONS = {
    "short": [("user", "Who sails?"), ("assistant", "We do.")],
    "several turns": [
        ("system", "Be brief."), ("user", "One?"), ("assistant", " Yes — 1\n"),
        ("user", "Two?"), ("assistant", "Zwei ü!"),
    ],
    "repeated text": [("user", "We do."), ("assistant", "We do."), ("user", "We do."), ("assistant", "We do.")],
    "an open question": [("user", "a"), ("assistant", "b"), ("user", "And now?")],
}  # fmt: skip


def messages_of(turns: Turns) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


@pytest.fixture(scope="module")
def tokenizer() -> tokenizers.Tokenizer:
    """One token per byte or word, and the special tokens of all templates."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made = tokenizers.Tokenizer(models.BPE({letter: i for i, letter in enumerate(sorted(alphabet))}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    return made


def encoder_of(tokenizer: tokenizers.Tokenizer, template: str, eos: str = "<|endoftext|>") -> ChatEncoder:
    names = {"bos_token": BOS, "eos_token": EOS}
    return ChatEncoder(tokenizer, ChatTemplate(template, names), tokenizer.token_to_id(eos))


def reference(tokenizer: tokenizers.Tokenizer, template: str, turns: Turns) -> tuple[list[int], list[int]]:
    """Tokens of a conversation, and which are the assistant's, by rendering up to and behind each of its turns."""

    def tokens(turns: Turns, *, prompt: bool = False) -> list[int]:
        text = compiled.render(messages=messages_of(turns), add_generation_prompt=prompt, bos_token=BOS, eos_token=EOS)
        return tokenizer.encode(text, add_special_tokens=False).ids

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    compiled = environment.from_string(template)
    whole = tokens(turns)
    counted = [0] * len(whole)
    for number, (role, _) in enumerate(turns):
        if role == "assistant":
            before, behind = tokens(turns[:number], prompt=True), tokens(turns[: number + 1])
            assert (whole[: len(before)], whole[: len(behind)]) == (before, behind), "the reference itself is in doubt"
            counted[len(before) : len(behind)] = [1] * (len(behind) - len(before))
    return whole, counted


@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_tokens_that_count_are_those_of_the_reference(name, turns, tokenizer):
    encoder = encoder_of(tokenizer, TEMPLATES[name])

    (conversation,) = encoder.encode([encoder.render(messages_of(turns))])

    ids, counted = reference(tokenizer, TEMPLATES[name], turns)
    assert conversation.ids.tolist() == [*ids, tokenizer.token_to_id("<|endoftext|>")]
    assert conversation.counted.tolist() == [*counted, 0]
    assert 0 < conversation.counted.sum() < len(ids)


def text_that_counts(tokenizer: tokenizers.Tokenizer, conversation) -> str:
    return tokenizer.decode(conversation.ids[conversation.counted == 1].tolist(), skip_special_tokens=False)


def test_marks_of_a_template_say_what_counts(tokenizer):
    encoder = encoder_of(tokenizer, MARKED)
    turns = messages_of(CONVERSATIONS["several turns"])

    (conversation,) = encoder.encode([encoder.render(turns)])

    assert text_that_counts(tokenizer, conversation) == " Yes — 1\n<|im_end|>Zwei ü!<|im_end|>"


def test_what_the_assistant_writes_is_counted_up_to_the_end_of_its_turn(tokenizer):
    encoder = encoder_of(tokenizer, TEMPLATES["mistral"], eos=EOS)

    (conversation,) = encoder.encode([encoder.render(messages_of(CONVERSATIONS["short"]))])

    assert text_that_counts(tokenizer, conversation) == "We do.</s>"
    assert conversation.ids.tolist().count(tokenizer.token_to_id(EOS)) == 1, "one end of turn and document"
    assert (conversation.ids.dtype, conversation.counted.dtype) == (np.uint32, np.uint8)


@pytest.mark.parametrize("template", [TEMPLATES["chatml"], MARKED])
def test_half_a_surrogate_pair_becomes_the_replacement_character(template, tokenizer):
    encoder = encoder_of(tokenizer, template)
    turns = [("user", "a\ud83d"), ("assistant", "\udc00b\ud83d and more")]
    replaced = [("user", "a\ufffd"), ("assistant", "\ufffdb\ufffd and more")]

    found, expected = encoder.encode([encoder.render(messages_of(each)) for each in (turns, replaced)])

    assert found.ids.tolist() == expected.ids.tolist()
    assert found.counted.tolist() == expected.counted.tolist()


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ("hello", "is a str: expected a list of messages"),
        (None, "is a NoneType: expected a list of messages"),
        ([], "is an empty list: expected a list of messages"),
        ([["user", "a"]], "message 1 is a list: expected role and content"),
        ([{"content": "a"}], "message 1 has no role: expected system, user or assistant"),
        ([{"role": "user"}], r"message 1 \(user\) has no content: expected text"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], "message 2 .*has a NoneType as"),
        ([{"role": "assistant", "content": "a"}], "the chat template refuses it: roles must alternate"),
    ],
)
def test_bad_conversations_are_named(messages, problem, tokenizer):
    with pytest.raises(ConversationError, match=problem):
        encoder_of(tokenizer, TEMPLATES["mistral"]).render(messages)


def test_a_template_that_changes_earlier_turns_needs_marks(tokenizer):
    forgetful = "{% for m in messages %}{{ m.role }}: {{ m.content if loop.last else '…' }}\n{% endfor %}"
    with pytest.raises(ConversationError, match=r"a template that adds to the text, or one with \{% generation"):
        encoder_of(tokenizer, forgetful).render(messages_of(CONVERSATIONS["several turns"]))


def test_a_template_that_reads_the_clock_is_refused(tokenizer):
    with pytest.raises(UserError, match="calls strftime_now, so that its text changes from day to day"):
        encoder_of(tokenizer, "{{ strftime_now('%d') }}")


def test_template_and_special_tokens_of_a_tokenizers_files():
    configuration = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "a", "add_bos_token": True}
    assert special_tokens_of(configuration) == {"bos_token": "<s>", "eos_token": "</s>"}
    assert template_of(configuration, None) == "a"
    assert template_of(configuration, "file") == "file"
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    assert template_of({"chat_template": named}, None) == "d"
    assert template_of({}, None) is None
