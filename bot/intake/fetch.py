"""Get a small public document over HTTPS: keys and certificates of senders. Bounded in size and time, no redirects."""

from __future__ import annotations

from collections.abc import Callable

import requests

from bot.errors import Unavailable

Fetch = Callable[[str], bytes]
MOST = 256 * 1024
TIMEOUT = (3.05, 5.0)


def fetch(url: str) -> bytes:
    """The document at an address that we have chosen. Raises Unavailable for anything but a 200."""
    with requests.Session() as session:
        session.trust_env = False  # no ~/.netrc: nobody's password goes with it
        try:
            with session.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True) as answer:
                data: bytes = answer.raw.read(MOST + 1, decode_content=True)
                status = answer.status_code
        except (requests.RequestException, OSError) as exc:
            raise Unavailable(f"{url} does not answer ({type(exc).__name__})", provider="http") from None
    if status != 200 or len(data) > MOST:
        raise Unavailable(f"{url} answered {status} with {len(data)} bytes", provider="http")
    return data
