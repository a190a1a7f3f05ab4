"""`spec.trainer.mp`: jmp's notation for mixed precision (https://github.com/google-deepmind/jmp#policies)."""

from dataclasses import dataclass

from lateen_api.wording import closest, listing, show

_TYPES = {
    "f32": "float32",
    "float32": "float32",
    "full": "float32",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "f16": "float16",
    "float16": "float16",
    "half": "bfloat16",
}
_ROLES = {"p": "params", "c": "compute", "o": "output"}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Size of an element by the name of its type."""


@dataclass(frozen=True)
class Precision:
    """Names of the types that a run computes with, as numpy spells them."""

    params: str
    """That parameters are kept in. What the optimizer keeps is float32."""

    compute: str
    """Of activations and matrix products."""


def parse_precision(text: str) -> Precision:
    """Reads `f32`, `p=f32,c=bfloat16`, `params=float32,compute=bfloat16,output=float32`.

    A single type is that of everything. The parameters' default is float32, the computation's is the parameters'
    type. `half` is bfloat16 everywhere: float16 would need its loss scaled. `output` is read and must be a type, but
    losses and metrics are float32 whatever it says.

    Raises:
        ValueError: the text is no such notation; the message says what is wrong with it.
    """
    if "=" not in text:
        name = _type(text)
        return Precision(name, name)
    roles: dict[str, str] = {}
    for part in text.split(","):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        role = _ROLES.get(role, role)
        if not equals or role not in _ROLES.values():
            raise ValueError(f"{show(part)} is not one of p=TYPE, c=TYPE and o=TYPE")
        if role in roles:
            raise ValueError(f"{role} stands twice in it")
        roles[role] = _type(name)
    params = roles.get("params", "float32")
    return Precision(params, roles.get("compute", params))


def _type(name: str) -> str:
    if name.strip() in _TYPES:
        return _TYPES[name.strip()]
    meant = closest(name, _TYPES)
    hint = f"did you mean {meant}?" if meant else f"there are {listing(list(_TYPES), 'and')}"
    raise ValueError(f"{show(name)} is not a type ({hint})")
