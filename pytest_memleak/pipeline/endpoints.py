"""The endpoints of a suite's models, each made, fine-tuned, and deployed once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import Inconclusive, JobPending, MemleakError, SuiteError
from pytest_memleak.interfaces.abilities import abilities_of, finetuning_of
from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.providers.provider_registry import host_of
from pytest_memleak.records import Model
from pytest_memleak.sampling.retry import Retry
from pytest_memleak.scoring.measure_table import unknown_name_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from pytest_memleak.interfaces.abilities import Deployment, DeploymentCalls
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.interfaces.protocols import Endpoint, Provider, TrainingSet
    from pytest_memleak.ledger.deployments import OpenDeployment
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.pipeline.prepared_books import PreparedBooks
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.records import Book, BookSource, Suite
    from pytest_memleak.sampling.deployment import Deployed


_TOKENS_PER_WORD = 4 / 3


class Endpoints:
    """The providers and endpoints of one suite, each opened when first used.

    books: what they are prompted for and fine-tuned on; resources: what they may use of
    the run;
    state: the folder where providers may keep weights
    """

    def __init__(
        self,
        suite: Suite,
        extensions: Extensions,
        books: PreparedBooks,
        resources: Resources,
        *,
        state: Path,
    ) -> None:
        self._suite = suite
        self._extensions = extensions
        self.books = books
        self.resources = resources
        self._state = state
        self.retry = replace(resources.retry or Retry(), deadline=suite.deadline)
        self.deployments = Deployments(resources, self.retry)
        self._providers: dict[str, Provider] = {}
        self._opened: dict[str, Endpoint] = {}
        self._training_sets: dict[
            tuple[str, bool], tuple[Sequence[object], TrainingSet]
        ] = {}

    def close(self) -> None:
        """Remove deployments and close the providers' connections."""
        self.deployments.remove_if_unused()
        for provider in self._providers.values():
            abilities_of(provider).close()

    def provider(self, model: Model) -> Provider:
        """Return the model's provider. Raises SuiteError for bad options."""
        if model.id not in self._providers:
            place = self.model_place(model)
            factory = self._extensions.provider(model.provider, place=place)
            setup = ProviderSetup(
                model=model,
                place=place,
                root=self._suite.path.parent,
                state=self._state / model.provider,
                # A summarizer reads books before they have summaries.
                read_book=self._book_reader(
                    place,
                    (
                        self.books.cut_into_excerpts
                        if self._is_summarizer(model)
                        else self.books.book_with_instructions
                    ),
                ),
                hosts=self.resources.hosts,
                deadline=self._suite.deadline,
            )
            provider = factory(setup)
            if model.finetune_books:
                finetuning_of(provider, place=place)
            self._providers[model.id] = provider
        return self._providers[model.id]

    def is_free(self, model: Model) -> bool:
        """Tell whether the model's provider costs nothing."""
        return self._extensions.is_free(model.provider)

    def open_endpoint(self, model: Model) -> Endpoint:
        """Return the model's endpoint, fine-tuned first where the suite requests it.

        Raises Inconclusive where it isn't available now, SuiteError for a mistake in
        the suite.
        """
        if model.id not in self._opened:
            provider = self.provider(model)
            name = (
                self._fine_tuned_id(model, provider)
                if model.finetune_books
                else model.endpoint
            )
            self._opened[model.id] = provider.open(name)
        return self._opened[model.id]

    def close_recordings(self, *, but: Model | None = None) -> None:
        """Free what recordings have read, except those of one model."""
        for name, opened in self._opened.items():
            recording = abilities_of(opened).recording
            if recording is not None and (but is None or name != but.id):
                recording.close()

    def deploy(self, model: Model) -> None:
        """Deploy the model if calls need that. Raises Inconclusive."""
        platform = abilities_of(self.provider(model)).deployments
        deployment = self.required_deployment(model)
        if platform is not None and deployment is not None:
            self.deployments.deploy(
                platform,
                deployment,
                model=model.id,
                price=model.price_per_hour,
            )

    def required_deployment(
        self,
        model: Model,
        *,
        foreseen: bool = False,
    ) -> Deployment | None:
        """Return the deployment that calling the model needs; None if it needs none.

        Also None where the model is still to be fine-tuned, unless that is `foreseen`.
        """
        platform = abilities_of(self.provider(model)).deployments
        if platform is None:
            return None
        weights = model.endpoint
        if model.finetune_books:
            from pytest_memleak.ledger.jobs import finetuned_endpoint

            digest = self.training_set(model, foreseen=True).digest
            weights = finetuned_endpoint(
                self.resources.ledger,
                platform.provider,
                digest,
            )
            if weights is None and not foreseen:
                return None
        return platform.needed(weights)

    def existing_endpoint(self, model: Model) -> Endpoint | None:
        """Return the model's endpoint without a call; None before its fine-tune."""
        if not model.finetune_books:
            return self.open_endpoint(model)
        provider, ledger = self.provider(model), self.resources.ledger
        from pytest_memleak.ledger.jobs import finetuned_endpoint

        name = finetuned_endpoint(
            ledger,
            provider.name,
            self.training_set(model, foreseen=True).digest,
        )
        return provider.open(name) if name else None

    def training_set(self, model: Model, *, foreseen: bool = False) -> TrainingSet:
        """Return what the model is fine-tuned on, named by all that shapes its weights.

        Of the options, the provider's `weights_options` do, or all if it lists none. A
        training set that the ledger has under the name of all options keeps it.
        """
        from pytest_memleak.ledger.jobs import has_unfailed_finetune

        provider = self.provider(model)
        books = self.books.training_books(model, foreseen=foreseen)
        shaping = finetuning_of(provider).weights_options
        system = finetuning_of(provider).system
        by_all = self._training_set_with_recipe(books, model, None, system)
        if shaping is None or model.options.keys() <= shaping:
            return by_all
        if has_unfailed_finetune(self.resources.ledger, provider.name, by_all.digest):
            return by_all
        return self._training_set_with_recipe(books, model, shaping, system)

    def _training_set_with_recipe(
        self,
        books: tuple[Book, ...],
        model: Model,
        shaping: Collection[str] | None,
        system: tuple[str, ...],
    ) -> TrainingSet:
        """Return the training set of the books, built once as long as they stay.

        shaping: the options that name it; None for all
        """
        key = model.id, shaping is None
        sources = (model, *books)
        built_of, training = self._training_sets.get(key, ((), None))
        if training is None or not _are_same(built_of, sources):
            options = model.options
            if shaping is not None:
                options = {name: options[name] for name in options if name in shaping}
            training = _training_set_with_recipe(books, model, options, system)
            self._training_sets[key] = sources, training
        return training

    def finetune_job_id(self, model: Model) -> str | None:
        """Return the id of the fine-tune behind the model, from the ledger."""
        if not model.finetune_books:
            return None
        from pytest_memleak.ledger.listing import list_jobs

        digest = self.training_set(model).digest
        jobs = (
            job.job_id
            for job in list_jobs(self.resources.ledger)
            if job.digest == digest
        )
        return next(jobs, None)

    def training_tokens(self, model: Model) -> int:
        """Estimate how many tokens a fine-tune of the model reads in all its epochs.

        The provider (`epochs`) or else the suite sets the number of epochs, by default
        1. The provider counts tokens (`count_tokens`), or they are 4/3 of the words. A
        summary that isn't written yet counts as long as it may become.
        """
        abilities = abilities_of(self.provider(model))
        epochs = finetuning_of(self.provider(model)).epochs
        epochs = model.finetune.get("epochs") if epochs is None else epochs
        texts = [
            text
            for example in self.training_set(model, foreseen=True).examples
            for text in (example.instruction, example.text)
        ]
        if abilities.count_tokens is not None:
            tokens: float = sum(map(abilities.count_tokens, texts))
        else:
            tokens = sum(len(text.split()) for text in texts) * _TOKENS_PER_WORD
        return int(tokens * (epochs if isinstance(epochs, int) else 1))

    def model_place(self, model: Model) -> str:
        """Return where the suite defines the model."""
        named = model.id if self._is_summarizer(model) else f"model {model.id!r}"
        return f"{self._suite.path}: {named}"

    def _fine_tuned_id(self, model: Model, provider: Provider) -> str:
        from pytest_memleak.ledger.jobs import finetuned_endpoint
        from pytest_memleak.sampling.remote_jobs import ensure_finetune

        training, ledger = self.training_set(model), self.resources.ledger
        if not self.resources.offline:
            return ensure_finetune(
                ledger,
                provider,
                training,
                free=self.is_free(model),
                wait=self.resources.wait,
                retry=self.retry,
                progress=self.resources.progress,
            )
        name = finetuned_endpoint(ledger, provider.name, training.digest)
        if name is None:
            raise Inconclusive(
                f"the ledger has no finished fine-tune of {model.id!r}",
                location=ledger.place,
                hint="run without --memleak-offline to fine-tune it",
            )
        return name

    def _is_summarizer(self, model: Model) -> bool:
        return (
            self._suite.summarizer is not None and model is self._suite.summarizer.model
        )

    def _book_reader(
        self,
        place: str,
        reader: Callable[[BookSource], Book],
    ) -> Callable[[str], Book]:
        def read(book_id: str) -> Book:
            try:
                return reader(self._suite.book(book_id))
            except KeyError:
                ids = sorted(book.id for book in self._suite.books)
                raise SuiteError(
                    f"there is no book {book_id!r}; known ids: {', '.join(ids)}",
                    location=place,
                    hint=unknown_name_hint(book_id, ids),
                ) from None

        return read


def _are_same(objects: Sequence[object], others: Sequence[object]) -> bool:
    """Tell whether these are the same objects, which is quicker than equal ones."""
    return [*map(id, objects)] == [*map(id, others)]


def _training_set_with_recipe(
    books: tuple[Book, ...],
    model: Model,
    options: Mapping[str, object],
    system: tuple[str, ...],
) -> TrainingSet:
    from pytest_memleak.sampling.training_set import build_training_set

    recipe: dict[str, object] = {
        "provider": model.provider,
        "base": model.base_model,
        "finetune": model.finetune,
        "options": options,
    }
    if system:
        recipe["system"] = system
    return build_training_set(books, recipe, share=model.finetune_share)


class Deployments:
    """The deployments of a run: created before the first call, removed at the end."""

    def __init__(self, resources: Resources, retry: Retry) -> None:
        self._resources = resources
        self._retry = retry
        self._active: dict[tuple[str, str], tuple[DeploymentCalls, Deployed]] = {}
        self._moved_in: set[tuple[str, str]] = set()
        self._awaited: set[str] = set()

    def deploy(
        self,
        platform: DeploymentCalls,
        deployment: Deployment,
        *,
        model: str,
        price: float | None,
    ) -> None:
        """Create the deployment and move its endpoints in. Raises Inconclusive."""
        from pytest_memleak.sampling.deployment import ensure_deployment, move_in

        key, resources = (deployment.digest, model), self._resources
        if key in self._moved_in:
            return
        try:
            active = ensure_deployment(
                resources.ledger,
                platform,
                deployment,
                price=price,
                budget=resources.budget,
                wait=resources.wait,
                retry=self._retry,
                progress=resources.progress,
            )
        except JobPending:
            self._awaited.add(deployment.digest)
            raise
        self._active[key] = platform, active
        move_in(platform, deployment, active, retry=self._retry)
        self._moved_in.add(key)

    def remove_if_unused(self) -> None:
        """Remove deployments that no other run uses; the ledger keeps the others."""
        while self._active:
            from pytest_memleak.sampling.deployment import leave

            platform, active = self._active.popitem()[1]
            leave(self._resources.ledger, platform, active, retry=self._retry)

    @property
    def held_digests(self) -> set[str]:
        """The digests of deployments in use, or awaited."""
        return {*(digest for digest, _ in self._active), *self._awaited}


def remove_deployment(
    debt: OpenDeployment,
    extensions: Extensions,
    *,
    ledger: Ledger,
    state: Path,
    retry: Retry | None,
) -> bool:
    """Remove what an open deployment left; return whether nothing of it remains.

    Raises MemleakError where its provider can't be created.
    """
    from pytest_memleak.sampling.deployment import delete_or_extend

    return delete_or_extend(
        ledger, _deployment_provider(debt, extensions, state), debt, retry=retry
    )


def _deployment_provider(
    debt: OpenDeployment,
    extensions: Extensions,
    state: Path,
) -> DeploymentCalls:
    """Create the provider from the ledger's row, without the deployment's suite."""
    place = f"the ledger's deployment {debt.number}"
    model = Model(
        id=f"deployment {debt.number}",
        provider=debt.provider,
        endpoint=debt.weights,
        options=debt.options,
    )

    def reject_book_read(_: str) -> object:
        raise MemleakError(
            "a deployment can't read books while it is being deleted",
            location=place,
        )

    provider = extensions.provider(debt.provider, place=place)(
        ProviderSetup(
            model=model,
            place=place,
            root=state,
            state=state / debt.provider,
            read_book=reject_book_read,  # type: ignore[arg-type]
            # The run that deployed it was permitted to.
            hosts=frozenset({host_of(str(debt.options.get("base_url", "")))}),
        ),
    )
    platform = abilities_of(provider).deployments
    if platform is None:
        raise MemleakError(
            f"the provider {debt.provider!r} can't delete deployments",
            location=place,
            hint="delete it in the provider's console",
        )
    return platform
