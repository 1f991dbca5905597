"""What was wrong with a request's parameters, for the person who reads it: pydantic's errors in our words."""

from collections.abc import Callable, Mapping
from typing import Any

_LONGEST_SHOWN = 80

_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is missing",
    "int_type": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number",
    "int_parsing_size": lambda _: "must be a whole number of a reasonable length",
    "int_from_float": lambda _: "must be a whole number",
    "string_type": lambda _: "must be text",
    "string_too_short": lambda limits: f"must have at least {_characters(limits['min_length'])}",
    "string_too_long": lambda limits: f"may have at most {_characters(limits['max_length'])}",
    "string_pattern_mismatch": lambda limits: f"must be of the form {limits['pattern']}",
    "greater_than_equal": lambda limits: f"must be at least {limits['ge']}",
    "greater_than": lambda limits: f"must be more than {limits['gt']}",
    "less_than_equal": lambda limits: f"may be at most {limits['le']}",
    "less_than": lambda limits: f"must be less than {limits['lt']}",
    "enum": lambda limits: f"must be {limits['expected']}",
    "literal_error": lambda limits: f"must be {limits['expected']}",
    "dict_type": lambda _: "must be a JSON object",
    "model_attributes_type": lambda _: "must be a JSON object, sent as application/json",
    "extra_forbidden": lambda _: "is nothing that this call takes",
}
"""By pydantic's name for the error, from its limits."""


def sentence(error: Mapping[str, Any]) -> str:
    """One error of pydantic's list, without a full stop: `dilate` must be a whole number."""
    kind, limits = error["type"], error.get("ctx", {})
    if kind == "json_invalid":
        return f"The body is no JSON: {_uncapitalised(str(limits['error']))} at character {error['loc'][-1]}"
    if kind == "value_error" and "UploadFile" in error["msg"]:
        return f"`{name_of(error)}` came as text: send it as a file, with a file name"
    says = _SENTENCES.get(kind)
    return f"`{name_of(error)}` {says(limits)}" if says else f"`{name_of(error)}`: {_uncapitalised(error['msg'])}"


def name_of(error: Mapping[str, Any]) -> str:
    """The parameter: its own name, or where it would have been."""
    names = [str(part) for part in error["loc"][1:] if not isinstance(part, int)]
    return shown(".".join(names)) or str(error["loc"][0])


def shown(text: str) -> str:
    """What somebody sent, short and harmless enough to be shown again."""
    plain = "".join(character if character.isprintable() else "�" for character in text)
    return plain if len(plain) <= _LONGEST_SHOWN else plain[:_LONGEST_SHOWN] + "…"


def _characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
