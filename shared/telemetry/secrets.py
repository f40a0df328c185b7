"""Passwords kept out of what people read: logs, messages of errors."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

HIDDEN: Final = "***"
# A shorter one would also hide half of what is no password; in a URL it is hidden all the same.
LENGTH_MIN: Final = 6
# A URL's part before its host; a password may hold an `@`, and ends before the next slash.
_IN_URL: Final = re.compile(r"(://[^\s/:@]*):[^\s/]*@")
# libpq's other form, and a parameter of a URL.
_BY_NAME: Final = re.compile(r"\b(password|passwd|passfile|secret)\s*=\s*('[^']*'|[^\s&]+)", re.IGNORECASE)


def hide_passwords(text: str, known: Iterable[str] = ()) -> str:
    """Return a text without the passwords of its URLs and connection strings, and without those that are known."""
    for password in known:
        text = text.replace(password, HIDDEN)
    if "=" in text:
        text = _BY_NAME.sub(rf"\1={HIDDEN}", text)
    return _IN_URL.sub(rf"\1:{HIDDEN}@", text) if "://" in text else text


def passwords_of(urls: Iterable[str]) -> list[str]:
    """Return the passwords of URLs, as they are written there and as they are meant, the longest first."""
    found: set[str] = set()
    for url in urls:
        try:
            password = urlsplit(url).password
        except ValueError:
            continue
        if password:
            found |= {password, unquote(password)}
    return sorted((one for one in found if len(one) >= LENGTH_MIN), key=len, reverse=True)
