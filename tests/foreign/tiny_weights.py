"""Weights of a few thousand numbers with a tokenizer of their own, for servers that load a folder.

The forms of tokenizers that servers tell tokens in: byte-level (bytes as letters, a blank begins
its word: GPT-2, Llama 3, Qwen), metaspace ("▁" for a blank, bytes where a letter is unknown:
Gemma), and llama-2 (the same, and a blank before every text that its decoder takes away again).
"""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FORMS = ("byte-level", "metaspace", "llama-2")
# What parts one form from the other: letters of several bytes, blanks in a row, lines, marks.
TEXT = (
    "The lamp went over the quay, and nobody saw it go.  “Who keeps it?” said the clerk — née"
    " Müller — to the baker.\n\nThe baker, who was 73, said: naïve 🕯 folk ask; wise folk look."
)
SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{number:02X}>" for number in range(256))
SIZE = 200  # pieces of words


def make(folder, form):
    """Random weights of Llama's architecture, the same each time."""
    tokenizer = _tokenizer(form)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return save_llama(
        folder,
        tokenizer.get_vocab_size(),
        (64, 128, 2, 2, 1024),
        initializer_range=0.2,  # far from uniform
        bos_token_id=1,
        eos_token_id=2,
    )


def save_llama(folder, vocabulary, sizes, **config):
    """A Llama of random weights; sizes: hidden, intermediate, layers, heads and context."""
    import torch
    import transformers

    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    shape = dict(zip((*names, "max_position_embeddings"), sizes, strict=True))
    special = {"bos_token_id": None, "pad_token_id": None}
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=vocabulary, **shape, **{**special, **config})
    transformers.LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder)
    return folder


def _tokenizer(form):
    """A tokenizer of that form, which has read what is ASCII of TEXT."""
    by_bytes = form == "byte-level"
    learning = Tokenizer(models.BPE())
    if by_bytes:
        learning.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        learning.pre_tokenizer = pre_tokenizers.Metaspace()
        alphabet = []
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE + len(alphabet), initial_alphabet=alphabet, show_progress=False
    )
    # Letters of several bytes are not read: they come in pieces then.
    letters = "".join(letter if letter.isascii() else " " for letter in TEXT)
    learning.train_from_iterator([letters], trainer)
    learnt = json.loads(learning.to_str())["model"]
    first = [*SPECIAL, *(() if by_bytes else BYTES)]
    pieces = [*first, *(token for token in learnt["vocab"] if token not in first)]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=[tuple(pair) for pair in learnt["merges"]],
            unk_token=None if by_bytes else "<unk>",
            byte_fallback=not by_bytes,
            fuse_unk=not by_bytes,
        )
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    _dress(tokenizer, form)
    return tokenizer


def _dress(tokenizer, form):
    """What the form does around the pieces; a text begins with "<s>"."""
    from tokenizers.processors import TemplateProcessing

    if form == "byte-level":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        blanks = normalizers.Replace(" ", "▁")
        joined = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        if form == "llama-2":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blanks])
            joined.append(decoders.Strip(" ", 1, 0))
        else:
            tokenizer.normalizer = blanks
        tokenizer.decoder = decoders.Sequence(joined)
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
