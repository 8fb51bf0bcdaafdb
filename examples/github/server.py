"""A small HTTP server that answers as GitHub's REST API does, for tests and for trying offline.

By hand: `python examples/github/server.py --port 8080`, and `GITHUB_API_URL=http://127.0.0.1:8080`
in the environment of the load. In tests: `with serve() as url:`.
"""

import argparse
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

LOGINS = ("ada", "blaise", "charles", "dorothy", "edsger", "frances")
VERBS = ("Add", "Fix", "Remove", "Speed up", "Document")
THINGS = ("the sensor", "a partition", "the asset graph", "retries", "the type checker")
REACTIONS = ("+1", "heart", "hooray", "rocket", "eyes")


def make_pull_requests(
    days: int = 10, per_day: int = 6, first_day: str = "2024-01-01", seed: int = 7
) -> list[dict[str, Any]]:
    """Make the pull requests of a repository: the same ones for the same arguments.

    Number `n` has `n % 4` comments and `n % 3` reactions, so that a test can count them.
    """
    chance = random.Random(seed)
    start = datetime.fromisoformat(first_day)
    pulls = []
    for index in range(days * per_day):
        number = index + 1
        day, slot = divmod(index, per_day)
        created = start + timedelta(days=day, minutes=slot * 24 * 60 // per_day)
        is_closed = chance.random() < 0.6
        closed = created + timedelta(hours=chance.randint(1, 48))
        pulls.append(
            {
                "id": 1_600_000_000 + number,
                "number": number,
                "title": f"{chance.choice(VERBS)} {chance.choice(THINGS)}",
                "state": "closed" if is_closed else "open",
                "draft": not is_closed and chance.random() < 0.2,
                "html_url": f"https://github.com/dagster-io/dagster/pull/{number}",
                # The account of the author of number 5 was deleted.
                "user": None if number == 5 else _user(chance),
                "created_at": _time(created),
                "updated_at": _time(closed if is_closed else created + timedelta(hours=1)),
                "closed_at": _time(closed) if is_closed else None,
                "merged_at": _time(closed) if is_closed and number % 5 else None,
                "comments": [
                    {
                        "id": number * 1000 + place,
                        "user": _user(chance),
                        "body": f"Comment {place + 1} on #{number}",
                        "created_at": _time(created + timedelta(minutes=10 * (place + 1))),
                        "updated_at": _time(created + timedelta(minutes=10 * (place + 1))),
                    }
                    for place in range(number % 4)
                ],
                "reactions": [
                    {
                        "id": number * 100 + place,
                        "user": _user(chance),
                        "content": chance.choice(REACTIONS),
                        "created_at": _time(created + timedelta(minutes=5 * (place + 1))),
                    }
                    for place in range(number % 3)
                ],
            }
        )
    return pulls


@dataclass
class FakeGitHub:
    """What the server knows and how it behaves; tests may change it while it runs.

    Attributes:
        repos: Pull requests by repository.
        api_token: The one token that is let in; anybody is where None.
        max_per_page: GitHub's own maximum is 100.
        limit: Requests until the rate limit, which is lifted after `limit_seconds`; None for
            no limit.
        limit_status: 403 or 429: GitHub gives either.
        limit_header: Whether the refusal says `Retry-After` or only `X-RateLimit-Reset`.
        error_rate: Part of the requests that end in 502, chosen by `seed`.
        requests: Path and query of each request, and the status that it got.
    """

    repos: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"dagster-io/dagster": make_pull_requests()}
    )
    api_token: str | None = None
    max_per_page: int = 100
    limit: int | None = None
    limit_seconds: int = 1
    limit_status: int = 403
    limit_header: bool = True
    error_rate: float = 0.0
    seed: int = 7
    requests: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._chance = random.Random(self.seed)
        self._remaining = self.limit
        self._reset_at = 0.0

    def answer(
        self, base_url: str, target: str, authorization: str | None
    ) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and body for one GET request."""
        with self._lock:
            status, headers, body = self._answer(base_url, target, authorization)
            self.requests.append((target, status))
        return status, headers, body

    def _answer(
        self, base_url: str, target: str, authorization: str | None
    ) -> tuple[int, dict[str, str], Any]:
        if self.api_token is not None and authorization != f"Bearer {self.api_token}":
            return 401, {}, {"message": "Bad credentials"}
        headers = self._count()
        if headers.get("X-RateLimit-Remaining") == "refused":
            headers["X-RateLimit-Remaining"] = "0"
            if self.limit_header:
                headers["Retry-After"] = str(self.limit_seconds)
            return self.limit_status, headers, {"message": "API rate limit exceeded"}
        if self._chance.random() < self.error_rate:
            return 502, headers, {"message": "Server Error"}
        items, query = self._find(target)
        if items is None:
            return 404, headers, {"message": "Not Found"}
        page, links = self._page(items, base_url + urlsplit(target).path, query)
        return 200, {**headers, **links}, page

    def _count(self) -> dict[str, str]:
        if self.limit is None or self._remaining is None:
            return {}
        now = time.time()
        if now >= self._reset_at and self._remaining <= 0 and self._reset_at:
            self._remaining, self._reset_at = self.limit, 0.0
        headers = {"X-RateLimit-Limit": str(self.limit)}
        if self._remaining <= 0:
            self._reset_at = self._reset_at or now + self.limit_seconds
            headers["X-RateLimit-Remaining"] = "refused"
            headers["X-RateLimit-Reset"] = str(int(self._reset_at))
        else:
            self._remaining -= 1
            headers["X-RateLimit-Remaining"] = str(self._remaining)
        return headers

    def _find(self, target: str) -> tuple[list[dict[str, Any]] | None, dict[str, str]]:
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match url.path.strip("/").split("/"):
            case ["repos", owner, name, "pulls"] if f"{owner}/{name}" in self.repos:
                return _select(self.repos[f"{owner}/{name}"], query), query
            case ["repos", owner, name, "issues", number, ("comments" | "reactions") as kind]:
                for pull in self.repos.get(f"{owner}/{name}", ()):
                    if str(pull["number"]) == number:
                        since = query.get("since", "") if kind == "comments" else ""
                        found = [
                            item
                            for item in pull[kind]
                            if item.get("updated_at", item["created_at"]) >= since
                        ]
                        return found, query
        return None, query

    def _page(
        self, items: list[dict[str, Any]], url: str, query: dict[str, str]
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        size = min(int(query.get("per_page", "30")), self.max_per_page)
        page = max(int(query.get("page", "1")), 1)
        last = max(-(-len(items) // size), 1)
        targets = {}
        if page > 1:
            targets |= {"prev": page - 1, "first": 1}
        if page < last:
            targets |= {"next": page + 1, "last": last}
        link = ", ".join(
            f'<{url}?{urlencode({**query, "page": number})}>; rel="{name}"'
            for name, number in targets.items()
        )
        return items[(page - 1) * size : page * size], {"Link": link} if link else {}


@contextmanager
def serve(github: FakeGitHub | None = None, *, port: int = 0, **settings: Any) -> Iterator[str]:
    """Serve on 127.0.0.1 while the block runs, and give the address.

    `settings` are those of `FakeGitHub`, for whoever does not want to look at it afterwards.
    """
    state = github or FakeGitHub(**settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet: two of them cost 40 ms per request.
        wbufsize = -1

        def do_GET(self) -> None:
            address = f"http://{self.headers['Host']}"
            status, headers, body = state.answer(
                address, self.path, self.headers.get("Authorization")
            )
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _select(pulls: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
    state = query.get("state", "open")
    key = {"created": "created_at", "updated": "updated_at"}[query.get("sort", "created")]
    # As GitHub has it: what the comments and reactions are is asked for elsewhere.
    found = [
        {name: value for name, value in pull.items() if name not in ("comments", "reactions")}
        for pull in pulls
        if state in ("all", pull["state"])
    ]
    return sorted(
        found,
        key=lambda pull: (pull[key], pull["number"]),
        reverse=query.get("direction", "desc") == "desc",
    )


def _user(chance: random.Random) -> dict[str, Any]:
    login = chance.choice(LOGINS)
    return {"login": login, "id": LOGINS.index(login) + 1, "type": "User"}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> None:
    """Serve until the keyboard interrupts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--api-token", help="The one token that is let in.")
    parser.add_argument("--error-rate", type=float, default=0.05)
    options = parser.parse_args()
    settings = {"api_token": options.api_token, "error_rate": options.error_rate}
    with serve(port=options.port, **settings) as url:
        print(f"GITHUB_API_URL={url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
