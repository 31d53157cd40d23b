"""The code blocks of a document."""

from __future__ import annotations

import re


def code_blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """Those of these languages, in order: language, contents."""
    return re.findall(rf"^```({'|'.join(languages)})\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
