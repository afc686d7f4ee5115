"""Prose, notices, and tables of contents from which tests build EPUBs."""


def paragraphs(name, count=15):
    """Paragraphs of four sentences, thirteen words a sentence, no two alike."""
    return [
        " ".join(
            f"The {name} went on by the sea road, mile {n}, and said so."
            for n in range(4 * at, 4 * at + 4)
        )
        for at in range(count)
    ]


def page(body):
    """An XHTML document with that body."""
    return (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html>'
        '<html xmlns="http://www.w3.org/1999/xhtml" '
        'xmlns:epub="http://www.idpf.org/2007/ops">'
        f"<head><title>Not text</title></head><body>{body}</body></html>"
    )


def p(texts):
    return "".join(f"<p>{text}</p>" for text in texts)


def prose(name, count=15):
    return p(paragraphs(name, count))


def contents(*points):
    """An EPUB 3 table of contents; each point is (title, address, points beneath it ...)."""

    def items(points):
        written = (
            f'<li><a href="{address}">{title}</a>{items(inner)}</li>'
            for title, address, *inner in points
        )
        return f"<ol>{''.join(written)}</ol>" if points else ""

    return f'<nav epub:type="toc">{items(points)}</nav>'


def ncx(*links):
    """An EPUB 2 table of contents, of (title, address)."""
    points = "".join(
        f"<navPoint><navLabel><text>{title}</text></navLabel><content "
        f'src="{address}"/></navPoint>'
        for title, address in links
    )
    return (
        '<?xml version="1.0"?><!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" '
        '"x.dtd">'
        "<ncx "
        f'xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{points}</navMap></ncx>'
    )


NOTICE = (
    "<p>Copyright © 2019 by Jane Doe</p><p>All rights reserved. No part of this "
    "publication may be"
    " reproduced without permission.</p><p>Published in the United States by Harbor "
    "Books, a"
    " division of Big House, 1745 Broadway, New York, NY 10019.</p>"
    "<p>This is a work of fiction. Names, characters, places and incidents are either "
    "the product"
    " of the author’s imagination or are used fictitiously.</p>"
    "<p>ISBN 978-1-2345-6789-0</p><p>Cover design by John Roe</p><p>10 9 8 7 6 5 4 3 2 "
    "1</p>"
)
