"""Where an endpoint is, its key, and which proxy the environment puts before it.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY mean what they mean to curl, but no proxy is asked
for this machine itself: a proxy elsewhere cannot reach it, and answers in the endpoint's place.

Leaves out: proxies that only some requests go through.
"""

from __future__ import annotations

import os
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

import httpx2

from dgrpo.errors import DgrpoError


def checked_url(url: str) -> str:
    """`url` if it can be the base of an API; ValueError says why not.

    A user name, a key or a query in it would end up in every file that names the experiment.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be http://HOST… or https://HOST…")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user name, key or query; a key goes through api_key_env")
    if parts.port == 0:  # reading it raises ValueError for what is no port
        raise ValueError("must name a port that can be connected to")
    if any(char.isspace() for char in url) or "" in parts.hostname.rstrip(".").split("."):
        raise ValueError("must hold no spaces, and a host without empty labels")
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"is no address: {error}") from None
    return url


@dataclass(frozen=True)
class Proxy:
    """A proxy between this process and an endpoint."""

    url: str = field(repr=False)
    """May hold a password, and so is shown nowhere."""
    variable: str
    """Which variable of the environment names it."""
    host: str
    """The endpoint's."""

    def __str__(self) -> str:
        """Which proxy it is, for people who did not know of it."""
        scheme, _, rest = self.url.partition("://")
        return (
            f"the proxy {scheme}://{rest.rpartition('@')[2].partition('/')[0]} of {self.variable}"
        )

    @property
    def way_round(self) -> str:
        """How to do without."""
        return f"NO_PROXY={self.host} goes past it"


def key_of(variable: str | None) -> str | None:
    """The bearer token in a variable of the environment; raises DgrpoError for none."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise DgrpoError(
            f"judge: the environment variable {variable} "
            + ("holds no usable key" if key else "is not set"),
            remedy=f"export {variable}=… before the run; it is sent as a bearer token",
        )
    return key


def proxy_of(url: str) -> Proxy | None:
    """The proxy before `url`; raises DgrpoError for one that cannot be used."""
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", urllib.request.getproxies()
    scheme = parts.scheme if proxies.get(parts.scheme) else "all"
    if not proxies.get(scheme) or _is_here(host) or _is_excepted(host, proxies.get("no", "")):
        return None
    address = proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    variable = next((name for name in names if os.environ.get(name)), "the system's settings")
    proxy = Proxy(address, variable, host)
    if problem := _unusable(address):
        raise DgrpoError(
            f"judge: {variable} puts a proxy before {host} that cannot be used: {problem}",
            remedy=f"{proxy.way_round}; or mend or unset {variable}",
        )
    return proxy


def _unusable(address: str) -> str:
    """Why no request can go through a proxy, without its address, which may hold a password."""
    try:
        checked_url("http://" + address.partition("://")[2].rpartition("@")[2])
        httpx2.AsyncHTTPTransport(proxy=address)
    except ImportError:
        return "SOCKS needs a further package (pip install 'httpx2[socks]')"
    except (ValueError, httpx2.InvalidURL):
        return "it is not of the form http://HOST:PORT"
    return ""


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        address = ip_address(host)
        return address.is_loopback or address.is_unspecified
    return False


def _is_excepted(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY names the host, its domain or its network."""
    if urllib.request.proxy_bypass_environment(host, {"no": exceptions}):  # type: ignore[attr-defined]
        return True
    for exception in exceptions.split(","):
        with suppress(ValueError):
            if "/" in exception and ip_address(host) in ip_network(exception.strip(), strict=False):
                return True
    return False
