"""Weights on this machine: where they are, what names them, and how they are loaded.

Base weights are a folder, or a model at the model hub. A folder is named by a digest of
the files in it that are loaded, a hub model by its commit, so that two models of one
name cannot be mixed up. Weights are read from safetensors only, and no code that comes
with them is run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import MemleakError, ProviderError, SuiteError
from pytest_memleak.providers.call_errors import safe_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PROVIDER = "transformers"

_SHORT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory", re.IGNORECASE)


@contextlib.contextmanager
def quiet_torch(*, threads: int | None) -> Iterator[None]:
    """Silence the libraries inside, with torch on `threads` threads (None: as is).

    What was set before is set again afterwards. Torch keeps the number per thread, so
    each thread of a call sets it again.
    """
    import torch
    from transformers.utils import logging

    log: Any = logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    threads_before = torch.get_num_threads()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
        if threads is not None:
            torch.set_num_threads(threads_before)


@contextlib.contextmanager
def errors_as_provider_errors(
    endpoint: str,
    call: str,
    *,
    texts: Sequence[str] = (),
    provider: str = PROVIDER,
) -> Iterator[None]:
    """Raise what torch, transformers, peft, and safetensors raise as ProviderError.

    texts: what was asked or learnt; a message that quotes any of them is withheld.
    provider: that is named
    """
    hint = None
    try:
        yield
    except MemleakError:
        raise
    except Exception as error:  # noqa: BLE001 - these libraries raise anything
        if is_out_of_memory(error):
            cause = f"the device doesn't have enough memory ({type(error).__name__})"
            hint = (
                "set a smaller options.completions_per_call or "
                "finetune.micro_batch_size"
            )
        else:
            cause = safe_message(str(error), texts=texts) or type(error).__name__
    else:
        return
    # Outside the handler: nothing that the error holds on to comes along.
    raise local_error(cause, endpoint, call, hint=hint, provider=provider)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the memory of the device, or of the process, didn't suffice."""
    import torch

    by_class = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return by_class or _SHORT_OF_MEMORY.search(str(error)) is not None


def local_error(
    cause: str,
    endpoint: str,
    call: str = "load",
    *,
    hint: str | None = None,
    provider: str = PROVIDER,
) -> ProviderError:
    """An error of this provider, or of another that uses its weights."""
    return ProviderError(
        cause,
        provider=provider,
        endpoint=endpoint,
        call=call,
        hint=hint,
    )


_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOADED = frozenset({".json", ".safetensors", ".jinja", ".model", ".txt"})
_TOKENIZERS = {
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
    *("sentencepiece.bpe.model", "spiece.model", "vocab.json", "vocab.txt"),
}
_DIGITS = 32


@dataclass(frozen=True, slots=True)
class LocalWeights:
    """Base weights with their tokenizer, or LoRA weights; `name` identifies them."""

    folder: Path
    name: str


@dataclass(frozen=True, slots=True)
class WeightsToLoad:
    """What to load; device "auto" takes a GPU, dtype "auto" is that of the files."""

    base: LocalWeights
    adapter: LocalWeights | None
    device: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model on its device, its tokenizer, and the tokens that end an answer."""

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    stop: frozenset[int]

    @property
    def padding(self) -> int:
        """A token to fill rows up with; masked wherever it stands."""
        own = self.tokenizer.pad_token_id
        if own is None:
            return min(self.stop)
        return int(own)

    @property
    def context(self) -> int | None:
        """The most tokens that the model was made for; None where it does not say."""
        config = self.model.config.get_text_config()
        most = getattr(config, "max_position_embeddings", None)
        if not isinstance(most, int) or most <= 0:
            return None
        return most


# --- where they are


def find_base(
    base: str,
    *,
    root: Path,
    revision: str | None,
    place: str,
    provider: str = PROVIDER,
) -> LocalWeights:
    """Return the weights of a folder below `root`, or else of a hub model `owner/name`.

    What is in the hub's cache already is taken from there, without asking whether there
    is something newer; otherwise it is downloaded.
    """
    folder = root / Path(base).expanduser()
    if folder.is_dir():
        lacking = _what_folder_lacks(folder)
        if lacking:
            raise SuiteError(
                f"the folder {folder} {lacking}",
                location=place,
                hint="base_model needs config.json, *.safetensors, and a tokenizer, as "
                "save_pretrained writes them",
            )
        return LocalWeights(folder, _digest_of(_files(folder)))
    if not _HUB_NAME.fullmatch(base):
        raise SuiteError(
            f"base_model = {base!r}: there is no folder {folder}",
            location=place,
            hint="name a folder, relative to the suite file, or a model on the hub "
            '("owner/name")',
        )
    snapshot = _download_snapshot(base, revision, folder, provider)
    version = snapshot.name
    if not _COMMIT.fullmatch(version):
        version = _digest_of(_files(snapshot))
    return LocalWeights(snapshot, f"{base}@{version}")


def _download_snapshot(
    name: str,
    revision: str | None,
    folder: Path,
    provider: str,
) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    patterns = [f"*{suffix}" for suffix in sorted(_LOADED)]
    download: Any = functools.partial(
        huggingface_hub.snapshot_download,
        name,
        revision=revision,
        allow_patterns=patterns,
    )
    try:
        try:
            snapshot = Path(download(local_files_only=True))
        except OSError:
            snapshot = None
        if snapshot is None or _what_folder_lacks(snapshot):
            snapshot = Path(download())
        lacking = _what_folder_lacks(snapshot)
    except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
        cause = f"it can't be downloaded from the model hub ({type(error).__name__})"
    else:
        if not lacking:
            return snapshot
        cause = f"the model hub's copy {lacking}"
    hint = f"check the name and the connection to the hub; there is no folder {folder}"
    raise local_error(cause, name, "download", hint=hint, provider=provider)


def _what_folder_lacks(folder: Path) -> str | None:
    """What keeps the folder from being a model's, in plain words."""
    names = {file.name for file in folder.iterdir()}
    if "config.json" not in names:
        return "has no config.json"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        missing = sorted(_shards(index) - names)
        if missing:
            return f"lacks {len(missing)} of its weight files ({missing[0]}, ...)"
    elif not any(name.endswith(".safetensors") for name in names):
        return "has no weights in safetensors"
    if names.isdisjoint(_TOKENIZERS):
        return "has no tokenizer"
    return None


def _shards(index: Path) -> set[str]:
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        return {str(name) for name in weight_map.values()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {f"a readable {index.name}"}


def find_adapter(folder: Path) -> LocalWeights | None:
    """Return the LoRA weights in a folder; None without any in safetensors."""
    files = [folder / name for name in _ADAPTER_FILES]
    if not all(file.is_file() for file in files):
        return None
    return LocalWeights(folder, _digest_of(files))


# --- what names them


def _files(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix in _LOADED]
    visible = [file for file in files if not file.name.startswith(".")]
    return sorted(file for file in visible if file.is_file())


def _digest_of(files: Iterable[Path]) -> str:
    lines = "".join(f"{file.name}\0{_sha256(file)}\0" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()[:_DIGITS]


def digest_of_weights(wanted: WeightsToLoad) -> str:
    """Return the SHA-256 (hexadecimal) of the files of weights, for anybody to check.

    Of one file it is the file's own; of several, first the base's by name, then the
    adapter's, that of the lines which `sha256sum` prints of them.
    """
    files = _files(wanted.base.folder)
    files = [file for file in files if file.suffix == ".safetensors"]
    if wanted.adapter is not None:
        files.append(wanted.adapter.folder / _ADAPTER_FILES[1])
    if len(files) == 1:
        return _sha256(files[0])
    lines = "".join(f"{_sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(file: Path) -> str:
    now = file.stat()
    return _sha256_at(file, now.st_size, now.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _sha256_at(
    file: Path,
    size: int,  # noqa: ARG001 - part of the key
    changed: int,  # noqa: ARG001 - part of the key
) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


# --- loading


def load_tokenizer(
    base: LocalWeights,
    *,
    endpoint: str,
    provider: str = PROVIDER,
) -> Any:
    """The tokenizer alone; `endpoint` is how error messages name it."""
    from transformers import AutoTokenizer

    with errors_as_provider_errors(endpoint, "load", provider=provider):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(base.folder),
            local_files_only=True,
            trust_remote_code=False,
        )
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # Of files that hold none, transformers makes an empty one and says nothing.
        raise local_error(
            "The tokenizer has no vocabulary",
            endpoint,
            hint="restore its files, as save_pretrained writes them",
            provider=provider,
        )
    return tokenizer


def load(wanted: WeightsToLoad, *, endpoint: str) -> Loaded:
    """Load model and tokenizer; `endpoint` is how error messages name them."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    folder = str(wanted.base.folder)
    models: Any = AutoModelForCausalLM
    plain: Any = GenerationConfig
    tokenizer = load_tokenizer(wanted.base, endpoint=endpoint)
    with errors_as_provider_errors(endpoint, "load"):
        device = _available_device(wanted.device, endpoint)
        model, report = models.from_pretrained(
            folder,
            dtype=wanted.dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        if missing := len(report["missing_keys"]):
            raise local_error(
                f"{missing} of the model's tensors aren't in its files",
                endpoint,
                hint="download or save the weights again",
            )
        stop = _stop_tokens(model, tokenizer)
        if not stop:
            cause = "The tokenizer has no end-of-text token, so no generation could end"
            raise local_error(cause, endpoint, hint="use a tokenizer with an eos_token")
        # Only temperature may shape what is drawn, whatever the weights ship beside
        # them.
        model.generation_config = plain()
        if wanted.adapter is not None:
            model = _model_with_adapter(model, wanted.adapter.folder, endpoint)
        return Loaded(model.to(device).eval(), tokenizer, stop)


def _model_with_adapter(
    model: Any,
    folder: Path,
    endpoint: str,
) -> Any:
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights

    adapted = PeftModel.from_pretrained(model, str(folder))
    expected = get_peft_model_state_dict(adapted).keys()
    if expected != load_peft_weights(str(folder), device="cpu").keys():
        raise local_error(
            f"the LoRA weights in {folder} belong to a different kind of model",
            endpoint,
            hint="set base_model to the model they were trained on",
        )
    return adapted


def _stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    tokens = [tokenizer.eos_token_id]
    own = model.generation_config.eos_token_id
    if isinstance(own, list | tuple):
        tokens += own
    else:
        tokens.append(own)
    return frozenset(int(token) for token in tokens if token is not None)


def _available_device(requested: str, endpoint: str) -> str:
    import torch

    here = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if requested == "auto":
        available = [device for device, is_there in here.items() if is_there]
        return available[0] if available else "cpu"
    kind = requested.partition(":")[0]
    if not here.get(kind, True):
        raise local_error(
            f"torch finds no device {requested!r} on this machine",
            endpoint,
            hint='set options.device to "auto" or "cpu"',
        )
    return requested
