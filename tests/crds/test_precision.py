"""jmp's notation for mixed precision."""

import pytest
from lateen_api.precision import Precision, parse_precision


@pytest.mark.parametrize(
    ("text", "params", "compute"),
    [
        ("f32", "float32", "float32"),
        ("full", "float32", "float32"),
        ("half", "bfloat16", "bfloat16"),
        ("bfloat16", "bfloat16", "bfloat16"),
        ("bf16", "bfloat16", "bfloat16"),
        ("p=f32,c=bfloat16", "float32", "bfloat16"),
        ("c=bf16", "float32", "bfloat16"),
        ("p=bf16", "bfloat16", "bfloat16"),
        ("params=float32,compute=bfloat16,output=float32", "float32", "bfloat16"),
        ("c = half , p = full", "float32", "bfloat16"),
        ("f16", "float16", "float16"),
    ],
)
def test_notation_names_the_types(text: str, params: str, compute: str):
    assert parse_precision(text) == Precision(params, compute)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f33", r"'f33' is not a type (did you mean f32?)"),
        ("int8", "'int8' is not a type (there are f32, float32, full, bf16, bfloat16, f16, float16 and half)"),
        ("p=f32,p=bf16", "params stands twice in it"),
        ("p=f32,x=bf16", "'x=bf16' is not one of p=TYPE, c=TYPE and o=TYPE"),
        ("p=f32,", "'' is not one of p=TYPE, c=TYPE and o=TYPE"),
        ("o=x", "'x' is not a type (there are f32, float32, full, bf16, bfloat16, f16, float16 and half)"),
    ],
)
def test_nonsense_is_refused(text: str, message: str):
    with pytest.raises(ValueError) as caught:
        parse_precision(text)
    assert str(caught.value) == message
