"""What schemathesis cannot make up by itself: pictures."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from chalicelib.http.multipart import FIELD
from tests.conftest import picture

PICTURES = [picture(), picture(image_format="PNG"), picture(seed=1), picture()[:400]]


@schemathesis.hook
def before_generate_body(
    context: schemathesis.HookContext, body: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """Let half of the uploads be pictures, some of them cut off."""
    if context.operation is None or context.operation.label != "POST /api/v1/thumbnail":
        return body
    return body | st.fixed_dictionaries({FIELD: st.sampled_from(PICTURES)})
