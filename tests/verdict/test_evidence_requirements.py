"""Every issue that the rules can raise has its fixes."""

import ast
from pathlib import Path

import pytest

from pytest_memleak.records import Kind
from pytest_memleak.verdict import completeness_rules, prompt_overlap
from pytest_memleak.verdict.evidence_requirements import RECORDED, SAMPLED, fix

KINDS_WITHOUT_ANSWER = [kind for kind in Kind if kind not in {Kind.ANSWER, Kind.SHORT}]


def is_issue_call(node):
    """Whether a node of a syntax tree is `context.issue(...)` or `_issue(...)`."""
    match node:
        case ast.Call(func=ast.Attribute(attr="issue") | ast.Name(id="_issue")):
            return True
    return False


def raised_issues():
    """Yield the rule and the fix's key, as written, of each issue in the code."""
    for module in (completeness_rules, prompt_overlap):
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        for call in filter(is_issue_call, ast.walk(tree)):
            rule, *_ = call.args
            key = call.args[2] if len(call.args) > 2 else rule
            yield ast.unparse(rule), ast.unparse(key)


@pytest.mark.parametrize(("rule", "key"), [*raised_issues()])
def test_every_raised_issue_has_a_fix(rule, key):
    match ast.parse(key, mode="eval").body:
        case ast.Constant(value=name):
            assert name in SAMPLED
        case ast.Attribute(value=ast.Name(id="Kind"), attr=name):
            assert Kind[name] in SAMPLED
        case ast.Name(id="chief"):  # a kind
            pass
        case ast.Name(id="cure"):  # a kind, or else the rule's own
            assert ast.literal_eval(rule) in SAMPLED
        case _:
            pytest.fail(f"issue {rule}: no test knows its fix {key}")


@pytest.mark.parametrize("kind", KINDS_WITHOUT_ANSWER)
@pytest.mark.parametrize("recorded", [False, True])
def test_every_kind_that_is_no_answer_has_a_fix(kind, recorded):
    assert fix(kind, recorded=recorded)


def test_a_fix_for_recorded_evidence_is_one_for_sampled_evidence_too():
    assert RECORDED.keys() <= SAMPLED.keys()


def test_every_fix_belongs_to_a_raised_issue():
    raised = {name for names in raised_issues() for name in names}
    assert {repr(name) for name in SAMPLED if not isinstance(name, Kind)} <= raised
