"""Books: from a file to excerpts with instructions.

manuscript = formats.read_manuscript(path)
book = build_book.make_book("my-book", manuscript, summaries=path_of_summaries)
records = build_book.paper_records(book)  # the paper's format
"""
