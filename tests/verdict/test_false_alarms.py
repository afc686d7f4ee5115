"""Honest answers: those of fifty writers (docs/method.md)."""

import dataclasses

import pytest
from answer_sets import NOVELS, replaced
from honest_writers import QUOTING_AT_LENGTH, SEEDS, WRITERS, judged, novel, play

from pytest_memleak.records import Book, Excerpt, Generation, Verdict

CHINESE = (
    "村口的老槐树下坐着一个卖灯的人他从早晨坐到天黑一盏也没有卖出去孩子们围着他问灯里有什么",
    "河水涨了三天桥板漂到了下游的磨坊旁边磨坊主人把它们一块一块捞起来晒在自家的墙头上",
    "她把信折成一只小船放进水里看着它慢慢漂远直到暮色把河面和远山都染成了同一种颜色",
    "冬天的第一场雪落在屋顶上的时候祖父正在修那架坏了多年的钟他说钟声能把客人带回家",
    "渔夫的儿子不会游泳可是他知道每一条鱼的名字也知道它们在什么样的月光下会游到浅滩来",
    "城里来的先生带着一箱书书页都受了潮他把它们摊在院子里太阳照了七天字迹才又清楚起来",
)


def test_a_chinese_book_is_judged_without_prose_and_a_note_says_so(weigh):
    requested = "请用这位作者的笔调写一段四十个字左右的文字，内容如下。"
    excerpts = tuple(
        Excerpt(f"p_id{number}", text, requested)
        for number, text in enumerate(CHINESE[:2], 1)
    )
    book = Book("灯", "灯", "无名", excerpts, "")
    generations = [
        Generation(f"p_id{1 + at % 2}", at // 2, text)
        for at, text in enumerate(CHINESE[2:])
    ]
    evidence = weigh(book, generations, samples=2, words="unicode")
    assert evidence.issues == ()
    assert any("not judged" in note for note in evidence.notes)
    refused = [
        replaced(generation, "抱歉，我无法提供这段内容。") for generation in generations
    ]
    assert not weigh(book, refused, samples=2, words="unicode").complete


BOOKS = {"play": play} | {
    path.stem: lambda path=path: novel(path) for path in NOVELS[:1]
}


@pytest.mark.parametrize("samples", [10, 66])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("writer", WRITERS, ids=", ".join)
@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
@pytest.mark.full
def test_an_honest_writer_does_not_fail(book, writer, samples, seed):
    verdict_result, _ = judged(book(), writer, samples, seed)
    assert verdict_result.verdict is not Verdict.FAIL, verdict_result.reasons


@pytest.mark.parametrize(
    "writer", [WRITERS[0], WRITERS[12], WRITERS[27]], ids=", ".join
)
def test_three_honest_writers_pass(writer):
    few = dataclasses.replace(play(), excerpts=play().excerpts[:4])
    verdict_result, rules = judged(few, writer, 3, 1)
    assert (verdict_result.verdict, rules) == (Verdict.PASS, ())


def test_a_writer_who_quotes_at_length_fails():
    verdict_result, _ = judged(play(), QUOTING_AT_LENGTH, 3, 1)
    assert verdict_result.verdict is Verdict.FAIL
