"""Shape annotations: `Float[Tensor, "batch channels *space"]`, checked by beartype in the tests and nowhere else.

jaxtyping is a development dependency. Where it is absent the annotations are never evaluated (they are strings), so
a stand-in is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:
        Bool = Float = Int = Any

__all__ = ["Bool", "Float", "Int"]
