"""Sample logs: the access log of an nginx that serves a small shop, as Logtail would have collected it.

The same seed gives the same logs; only their times follow the clock: they lie in the minutes before the logstore was
created, and so do the times at which they were received. A few requests in every hundred thousand are the rubbish
that every public server gets, with request lines that no parser takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from urllib.parse import quote

from etlcore_sls.emulator.api_stores import LOGSTORE_DEFAULTS
from etlcore_sls.emulator.service import Service
from etlcore_sls.emulator.settings import Samples
from etlcore_sls.emulator.shards import StoredGroup
from etlcore_sls.wire.protobuf import encode_pair, encode_tags, frame, varint

SPAN_SECONDS = 600  # how far back the oldest log lies
MALFORMED_EVERY = 2_500  # one log in so many has a request_uri that cannot be decoded
_GROUP_SIZES = (20, 80)  # logs in one LogGroup

_HOSTS = ("shop.example.com", "www.example.com", "api.example.com")
_CATEGORIES = ("books", "music", "garden", "kitchen", "toys", "coffee & tea", "茶具")
_WORDS = ("red shoes", "usb-c cable", "c++ primer", "café", "50% off", "日本茶", "rain coat", "a/b test", "q&a", "lamp")
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.5.0",
    "okhttp/4.12.0",
)
_REFERRERS = ("-", "https://www.example.com/", "https://shop.example.com/search?q=lamp", "https://www.google.com/")
_STATUSES = ((200, 300, 302, 304, 400, 404, 499, 500, 502), (860, 10, 30, 40, 8, 35, 6, 7, 4))
_MALFORMED = (
    "/search?q=100%",
    "/products/%zz?ref=mail",
    "/search?q=%E6%97%A5%E6%9C",
    "/static/%C0%AE%C0%AE/%C0%AE%C0%AE/etc/passwd",
    "/cart/add?sku=%u4F60%u597D",
)


def _page(random: Random) -> str:
    return random.choice(("/", "/about", "/help/shipping", "/robots.txt", "/static/css/main.3f9c.css", "/favicon.ico"))


def _search(random: Random) -> str:
    words = quote(random.choice(_WORDS), safe="").replace("%20", "+")
    sort = random.choice(("", "&sort=price", "&sort=rank&desc=1", "&in%5Bstock%5D=true"))
    return f"/search?q={words}&page={random.randint(1, 9)}{sort}"


def _product(random: Random) -> str:
    category = quote(random.choice(_CATEGORIES), safe="")
    return f"/c/{category}/item-{random.randint(1000, 9999)}" + random.choice(
        ("", "", "?utm_source=mail&utm_campaign=")
    )


def _api(random: Random) -> str:
    return (
        random.choice(("/api/v1/cart", "/api/v1/orders", "/api/v1/users"))
        + f"/{random.randint(1, 99_999)}?fields=id,total"
    )


_PATHS = ((_page, _search, _product, _api), (25, 25, 35, 15))


def _fields(random: Random, number: int, moment: float) -> list[tuple[str, str]]:
    """One log, as key and value pairs in nginx's order."""
    make = random.choices(*_PATHS)[0]
    uri = _MALFORMED[number // MALFORMED_EVERY % len(_MALFORMED)] if number % MALFORMED_EVERY == 1_717 else make(random)
    status = random.choices(*_STATUSES)[0]
    upstream = random.expovariate(20.0)
    served = random.random() < 0.3  # by nginx itself
    return [
        (
            "remote_addr",
            f"{random.randint(1, 223)}.{random.randint(0, 255)}.{random.randint(0, 255)}.{random.randint(1, 254)}",
        ),
        ("remote_user", "-"),
        ("time_local", time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(moment))),
        ("request_method", "POST" if make is _api and random.random() < 0.5 else "GET"),
        ("request_uri", uri),
        ("server_protocol", "HTTP/1.1" if random.random() < 0.3 else "HTTP/2.0"),
        ("status", str(status)),
        ("body_bytes_sent", str(0 if status in (304, 499) else int(random.lognormvariate(8.0, 1.2)))),
        ("request_length", str(random.randint(180, 1400))),
        ("request_time", f"{upstream + 0.001:.3f}"),
        ("upstream_response_time", "-" if served else f"{upstream:.3f}"),
        ("http_referer", random.choice(_REFERRERS)),
        ("http_user_agent", random.choice(_AGENTS)),
        ("http_x_forwarded_for", "-"),
        ("host", random.choice(_HOSTS)),
    ]


def _encode(fields: list[tuple[str, str]], moment: int) -> bytes:
    body = b"\x08" + varint(moment)
    body += b"".join([encode_pair(b"\x12", key.encode(), value.encode()) for key, value in fields])
    return b"".join((b"\x0a", varint(len(body)), body))


def sample_groups(samples: Samples, shard: int, end: float) -> Iterator[StoredGroup]:
    """The LogGroups of one shard, oldest first; the last log lies just before ``end`` (seconds since 1970)."""
    random = Random(f"{samples.seed}/{shard}")
    logs = len(range(shard, samples.logs, samples.shards))
    envelope = _envelope(shard)
    done = 0
    while done < logs:
        size = min(random.randint(*_GROUP_SIZES), logs - done)
        moments = [int(end - SPAN_SECONDS * (logs - done - place) / logs) for place in range(size)]
        encoded = [
            _encode(_fields(random, (done + place) * samples.shards + shard, moment), moment)
            for place, moment in enumerate(moments)
        ]
        yield StoredGroup(moments[-1] + 1, size, frame(b"".join(encoded) + envelope))
        done += size


def _envelope(shard: int) -> bytes:
    """Topic, source and tags, as Logtail adds them to each LogGroup."""
    topic, source, host = b"nginx_access", b"10.0.0.%d" % (11 + shard), b"web-%d" % (1 + shard)
    tags = [(b"__hostname__", host), (b"__path__", b"/var/log/nginx/access.log"), (b"env", b"prod")]
    return b"".join((b"\x1a", varint(len(topic)), topic, b"\x22", varint(len(source)), source, encode_tags(tags)))


def write_samples(service: Service, samples: Samples) -> bool:
    """Create the logstore of the samples, with its project, and fill it. False when it is there already."""
    with service.locked():
        project = service.projects.get(samples.project) or service.create_project(samples.project, "Sample logs")
        if samples.logstore in project.logstores:
            return False
        store = service.create_logstore(samples.project, samples.logstore, samples.shards, dict(LOGSTORE_DEFAULTS))
        now = service.now()
        for number, shard in store.shards.items():
            service.append(store, shard, list(sample_groups(samples, number, now)))
        return True
