"""A repository's name in, its pull requests with comments and reactions out."""

import os
import time
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.common.typing import TSecretStrValue
from dlt.sources.helpers.requests import Client, Response


@dlt.source(name="github")
def github_source(
    repo: str,
    since: str | None = None,
    until: str | None = None,
    base_url: str | None = None,
    api_token: TSecretStrValue | None = dlt.secrets.value,
) -> Any:
    """Read one repository through GitHub's REST API.

    Args:
        repo: Owner and name, such as `dagster-io/dagster`.
        since: The first day or moment, as ISO text: what was opened before it is left out.
        until: The day or moment at which to end; what was opened then is left out, too.
        base_url: Address of the API; the environment variable `GITHUB_API_URL` where None,
            and `https://api.github.com` where that is not set.
        api_token: Optional for public repositories, but GitHub answers 60 requests an hour
            without one and 5,000 with one.
    """
    url = base_url or os.environ.get("GITHUB_API_URL") or "https://api.github.com"
    get_pages = _make_reader(url.rstrip("/"), api_token)

    @dlt.resource(name="pull_requests", primary_key="id", write_disposition="merge")
    def pull_requests() -> Iterator[list[dict[str, Any]]]:
        """Pull requests, each with the comments and the reactions that it got."""
        # The newest first, so that no page is asked for that is wholly before `since`. Times
        # are ISO text in UTC, which sorts as the moments do.
        newest_first = {"state": "all", "sort": "created", "direction": "desc"}
        for page in get_pages(f"/repos/{repo}/pulls", newest_first):
            yield [
                _pull_request(pull, repo, get_pages)
                for pull in page
                if (since is None or pull["created_at"] >= str(since))
                and (until is None or pull["created_at"] < str(until))
            ]
            if since is not None and page and page[-1]["created_at"] < str(since):
                return

    return pull_requests


def _pull_request(pull: dict[str, Any], repo: str, get_pages: Any) -> dict[str, Any]:
    issue = f"/repos/{repo}/issues/{pull['number']}"
    return {
        **{name: pull[name] for name in ("id", "number", "title", "state", "draft", "html_url")},
        "author": _login(pull),
        **{name: pull[name] for name in ("created_at", "updated_at", "closed_at", "merged_at")},
        "comments": [
            {
                "id": comment["id"],
                "author": _login(comment),
                "body": comment["body"],
                "created_at": comment["created_at"],
                "updated_at": comment["updated_at"],
            }
            for page in get_pages(f"{issue}/comments", {})
            for comment in page
        ],
        "reactions": [
            {
                "id": reaction["id"],
                "author": _login(reaction),
                "content": reaction["content"],
                "created_at": reaction["created_at"],
            }
            for page in get_pages(f"{issue}/reactions", {})
            for reaction in page
        ],
    }


def _login(item: dict[str, Any]) -> str | None:
    # The user is null where the account was deleted.
    return item["user"]["login"] if item["user"] else None


def _make_reader(base_url: str, api_token: str | None) -> Any:
    client = Client(
        request_max_attempts=8,
        request_backoff_factor=0.1,
        # GitHub's limit is per hour: wait that long rather than give up.
        request_max_retry_delay=3600,
        retry_condition=_is_rate_limited,
        session_attrs={"hooks": {"response": [_say_when_to_retry]}},
    )
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    if api_token:
        headers["Authorization"] = f"Bearer {api_token}"

    def get_pages(path: str, params: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
        response = client.get(
            base_url + path, params={**params, "per_page": "100"}, headers=headers
        )
        yield response.json()
        while "next" in response.links:
            response = client.get(response.links["next"]["url"], headers=headers)
            yield response.json()

    return get_pages


def _is_rate_limited(response: Response | None, error: BaseException | None) -> bool:
    """Tell a 403 that passes with time from one that does not."""
    return (
        response is not None
        and response.status_code == 403
        and ("Retry-After" in response.headers or _is_used_up(response))
    )


def _say_when_to_retry(response: Response, *args: Any, **kwargs: Any) -> Response:
    """Put the time at which GitHub's limit is lifted where dlt looks for it."""
    if (
        response.status_code in (403, 429)
        and "Retry-After" not in response.headers
        and _is_used_up(response)
        and response.headers.get("X-RateLimit-Reset", "").isdigit()
    ):
        seconds = int(response.headers["X-RateLimit-Reset"]) - time.time()
        response.headers["Retry-After"] = str(max(1, int(seconds) + 1))
    return response


def _is_used_up(response: Response) -> bool:
    return response.headers.get("X-RateLimit-Remaining") == "0"
