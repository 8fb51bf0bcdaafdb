"""Make the ids of many rows at once, as dlt makes them."""

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Sequence

from dlt.common.normalizers.json.helpers import get_nested_row_hash
from dlt.common.normalizers.utils import DLT_ID_LENGTH_BYTES


def make_random_ids(count: int) -> list[str]:
    """Return ids of root rows, as dlt's `generate_dlt_id` makes them."""
    size = DLT_ID_LENGTH_BYTES
    random = secrets.token_bytes(count * size)
    return _split_base64([random[start : start + size] for start in range(0, len(random), size)])


def make_nested_ids(
    parent_ids: Sequence[str], table_name: str, positions: Sequence[int]
) -> list[str]:
    """Return ids of nested rows, as dlt's `get_nested_row_hash` makes them."""
    shake = hashlib.shake_128
    size = DLT_ID_LENGTH_BYTES
    return _split_base64(
        [
            shake(f"{parent_id}_{table_name}_{position}".encode()).digest(size)
            for parent_id, position in zip(parent_ids, positions, strict=True)
        ]
    )


def are_ids_of_dlt() -> bool:
    """Tell whether the installed dlt still makes ids of nested rows in this way."""
    return make_nested_ids(["a", "b"], "t__ü", [0, 17]) == [
        get_nested_row_hash("a", "t__ü", 0),
        get_nested_row_hash("b", "t__ü", 17),
    ]


def _split_base64(digests: list[bytes]) -> list[str]:
    # Encode all digests in one call. Each is padded to a multiple of three bytes, so that no digest
    # shares a letter with the next.
    filler = b"\0" * (-DLT_ID_LENGTH_BYTES % 3)
    text = b64encode(filler.join(digests) + filler).decode("ascii")
    step = (DLT_ID_LENGTH_BYTES + len(filler)) // 3 * 4
    length = -(-DLT_ID_LENGTH_BYTES * 8 // 6)
    return [text[start : start + length] for start in range(0, len(text), step)]
