"""Why a server's certificate is not trusted, in words for who has to mend it.

By OpenSSL's numbers (`x509_vfy.h`), which Python hands on; its own words name no remedy.
"""

from __future__ import annotations

EXPIRED = 10
_NOT_YET = 9
_OTHER_HOST = (62, 64)  # another name, another IP address
_LONGEST = 160


def distrust(code: int, said: str, *, address: str, authority: str) -> str:
    """What is wrong with the certificate, and what to do.

    Args:
        code: OpenSSL's ``verify_code``.
        said: OpenSSL's own words.
        address: the setting by which the server is reached.
        authority: the setting that says whom we trust.
    """
    words = said.strip().rstrip(".")[:_LONGEST]
    if code == EXPIRED:
        return "its certificate has expired; renew it there, or set this machine's clock right"
    if code == _NOT_YET:
        return "its certificate is not valid yet; set the clocks right, there and here"
    if code in _OTHER_HOST:
        return (
            f"its certificate is for another host ({words}); reach it by a name that stands in the"
            f" certificate ({address}), or have that name put into it"
        )
    return (
        f"its certificate is signed by nobody we trust ({words}); check {authority}: it has to hold"
        " the authority that signed it"
    )
