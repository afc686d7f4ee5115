"""Weights of a few thousand random numbers, for providers that load a folder."""


def save_llama(folder, vocabulary, sizes, **config):
    """A Llama of random weights; sizes: hidden, intermediate, layers, heads and context."""
    import torch
    import transformers

    names = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
    )
    shape = dict(zip((*names, "max_position_embeddings"), sizes, strict=True))
    special = {"bos_token_id": None, "pad_token_id": None}
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, **shape, **{**special, **config}
    )
    transformers.LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder)
    return folder
