"""Templates: strict, typed, nothing escaped."""

from datetime import date, datetime

import pytest

from loadsmith.config.templates import Scope, names_in, render, template_problems
from loadsmith.errors import ConfigError, ResolveError

VARIABLES = {
    "n": 5,
    "context.partition_key": "2024-01-03",
    "day": date(2024, 2, 1),
    "time": datetime(2024, 2, 1, 6, 30),
    "parent_asset.destination_table_id": 'a."b" & <c>',
    "resource": {"api": {"ports": [1, 2]}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{n}}", 5),
        ("{{ n }}", 5),
        ("{{{n}}}", 5),
        ("{{&n}}", 5),
        ("x {{n}} y", "x 5 y"),
        ("{{resource.api.ports}}", [1, 2]),
        (
            "SELECT * FROM {{parent_asset.destination_table_id}}",
            'SELECT * FROM a."b" & <c>',
        ),
        ("{{#date}}{{context.partition_key}}|%Y/%m{{/date}}", "2024/01"),
        ("{{#date}}{{day}}|%d.%m.{{/date}}", "01.02."),
        ("{{#date}}{{time}}|%H:%M{{/date}}", "06:30"),
        ("{{#date}}2024-01-03T01:00:00Z|%H{{/date}}", "01"),
        ("{{#date}}2024-01-03-05:00|%H{{/date}}", "05"),
        ("on {{day}}", "on 2024-02-01"),
        ('{"a": {"b": {{n}}}}', '{"a": {"b": 5}}'),
        ("{{! a comment }}x", "x"),
        ("SELECT 1\n  {{! a line of its own }}\nFROM x", "SELECT 1\nFROM x"),
        ("a\r\n{{#date}}\r\n{{day}}|%Y\n{{/date}}\nb", "a\r\n2024b"),
        ("a {{! in a line }}\nb", "a \nb"),
        ("no variables } here {", "no variables } here {"),
        ({"a": ["{{n}}", 1], "b": ("{{n}}",)}, {"a": [5, 1], "b": (5,)}),
    ],
)
def test_templates_are_filled(text, expected):
    assert render(text, VARIABLES) == expected


def test_a_value_is_not_a_template_itself():
    assert render("a {{x}}", {"x": "{{n}}", "n": 1}) == "a {{n}}"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{{m}}", ResolveError, "there is no variable '{{m}}' in this run."),
        (
            "{{context.partition_keys}}",
            ResolveError,
            ("there is no variable '{{context.partition_keys}}' in this run. Did you mean "
            "'context.partition_key'?"),
        ),
        (
            "{{#date}}yesterday|%Y{{/date}}",
            ResolveError,
            ("'yesterday' in the section date is not a date. Give one such as '2024-01-31' or "
            "'2024-01-31T06:00:00'."),
        ),
        ("{{n", ConfigError, "the template is malformed: '{{' is not closed."),
        ("{{}}", ConfigError, "the template is malformed: '{{' is not closed."),
        (
            "x {{#date}}{{n}}|%Y",
            ConfigError,
            ("the template is malformed: Did not find a matching tag for {{#date}}. Its section "
            "starts at position 11. Close each section as in '{{#date}}value|format{{/date}}'."),
        ),
        (
            "{{#date}}{{n}}|%Y{{/day}}",
            ConfigError,
            ("the template is malformed: Section end tag mismatch at position 25. Found {{/day}}, "
            "expected {{/date}}."),
        ),
        (
            "{{n}}{{/date}}",
            ConfigError,
            ("the template is malformed: Section end tag mismatch at position 14. Found {{/date}}, "
            "expected {{#date}}."),
        ),
        (
            "{{a{b}}",
            ConfigError,
            "the template is malformed: 'a{b' is not the name of a variable.",
        ),
        ("{{#list}}x{{/list}}", ConfigError, "the template has a tag that is not supported (list)"),
        ("{{^n}}x{{/n}}", ConfigError, "the template has a tag that is not supported (n)."),
        ("{{>part}}", ConfigError, "the template has a tag that is not supported (part)."),
        ("{{=<% %>=}}", ConfigError, "the template has a tag that is not supported."),
    ],
)  # fmt: skip
def test_mistakes_in_templates_are_errors(text, error, message):
    with pytest.raises(error) as caught:
        render(text, VARIABLES)
    assert str(caught.value).startswith(message)


def test_values_are_never_in_the_message(monkeypatch):
    monkeypatch.setenv("TOKEN", "very-secret")
    with pytest.raises(ResolveError) as caught:
        render("{{env.TOKE}}", {})
    assert "very-secret" not in str(caught.value)
    assert "Did you mean 'TOKEN'?" in str(caught.value)


def test_the_names_in_a_tree_are_found():
    tree = {"a": ["{{x.y}} {{#date}}{{z}}|%Y{{/date}}"], "b": 3}
    assert names_in(tree) == {"x.y", "z"}


def test_what_is_known_before_a_run_is_checked_before_it():
    scope = Scope(
        {
            "context": frozenset({"run_id"}),
            "env": None,
            "resource": frozenset({"duckdb.database_path", "api.*"}),
        },
        "Look around.",
    )
    tree = [
        "{{context.run}}",
        "{{env.ANY}}",
        "{{resource.api.any}}",
        "{{zzz}}",
        "{{#date}}{{context.run_id}}{{/date}}",
    ]
    assert list(template_problems(tree, scope)) == [
        ((0,), "there is no variable '{{context.run}}'. Did you mean 'context.run_id'?"),
        (
            (3,),
            (
                "there is no variable '{{zzz}}'. There is: context.run_id, env.NAME, "
                "resource.api.*, resource.duckdb.database_path. Look around."
            ),
        ),
        ((4,), "the section date has no format. Write '{{#date}}value|%Y-%m-%d{{/date}}'."),
    ]


def test_a_run_without_a_partition_says_so():
    with pytest.raises(ResolveError, match=r"'{{context.partition_key}}' has no value in this run"):
        render("{{context.partition_key}}", {"context.run_id": "x"})
    with pytest.raises(ResolveError, match="no partition that is a window of time"):
        render("{{context.partition_window_end}}", {"context.partition_key": "red"})
