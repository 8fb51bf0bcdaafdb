"""Names that users have in their instances and destinations stay what they are."""

import pytest

from loadsmith.config.profiles import branch_suffix
from loadsmith.names import identifier, lower_identifier, op_name, unique_name, unique_names, words

TEXTS = [
    "github/api/pull_requests",
    "my-ds",
    "größe",
    "2024 Sales!",
    "",
    "__a--b__",
    "a..b",
    "日本",
    "İstanbul",
    "feature/a-very-long-branch-name-of-somebody",
]
LONG = "feature_a_very_long_branch_name_of_somebody"
GITHUB = "github_api_pull_requests"


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            op_name,
            [
                GITHUB,
                "my_ds",
                "gr__e",
                "2024_Sales_",
                "load",
                "__a__b__",
                "a__b",
                "__",
                "_stanbul",
                LONG,
            ],
        ),
        (
            identifier,
            [GITHUB, "my_ds", "gr_e", "2024_Sales_", "", "__a_b__", "a_b", "_", "_stanbul", LONG],
        ),
        (
            lambda text: lower_identifier(text, prefix="load"),
            [
                GITHUB,
                "my_ds",
                "gr_e",
                "load_2024_sales",
                "load",
                "a_b",
                "a_b",
                "load",
                "stanbul",
                LONG,
            ],
        ),
        (
            lambda text: lower_identifier(text, prefix="project", is_ascii=False),
            [
                GITHUB,
                "my_ds",
                "größe",
                "project_2024_sales",
                "project",
                "a_b",
                "a_b",
                "日本",
                "i̇stanbul",
                LONG,
            ],
        ),
        (
            branch_suffix,
            [
                f"_{GITHUB}",
                "_my_ds",
                "_gr_e",
                "_2024_sales",
                "_branch",
                "_a_b",
                "_a_b",
                "_branch",
                "_i_stanbul",
                "_feature_a_very_1ba000f3",
            ],
        ),
        (
            words,
            [GITHUB, "my_ds", "gr_e", "2024_Sales", "", "a_b", "a_b", "", "stanbul", LONG],
        ),
    ],
)
def test_a_text_keeps_the_name_that_it_had(make, names):
    assert [make(text) for text in TEXTS] == names


def test_a_taken_name_gets_the_first_free_number():
    assert unique_name("a", {"b"}) == "a"
    assert unique_name("a", {"a", "a_2"}) == "a_3"


def test_a_name_that_occurs_once_is_never_numbered():
    assert unique_names(["a", "a", "a_2", "a", "b"]) == ["a", "a_3", "a_2", "a_4", "b"]
