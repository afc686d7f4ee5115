"""A ledger with rows in every table, and something in every column."""

from by_hand import answer, intent
from scripted import Scripted

from pytest_memleak.interfaces.abilities import Deployment
from pytest_memleak.interfaces.protocols import Completion, Served
from pytest_memleak.ledger.call_outcomes import (
    CallResult,
    end_call_unanswered,
    mark_postponed,
    store_call_result,
)
from pytest_memleak.ledger.call_reservations import (
    CallTerms,
    OwnEndpoint,
    prompt_row_ids,
    reserve_call,
)
from pytest_memleak.ledger.deployments import claim_deployment, settle_deployment
from pytest_memleak.ledger.jobs import JobRow, claim_finetune, end_job, update_job
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.ledger.stored_summaries import keep_summary
from pytest_memleak.records import FinishReason
from pytest_memleak.sampling.adaptive_concurrency import AdaptiveConcurrency
from pytest_memleak.sampling.batch import claim_batch
from pytest_memleak.sampling.checked_endpoint import CheckedEndpoint
from pytest_memleak.sampling.reserved_call import SamplingContext
from pytest_memleak.sampling.retry import Retry


def fill(ledger, ask):
    prompts = ask(excerpts=3, samples=6)
    one, two, three = prompts.specs

    def generations(prompt, *ordinals):
        wanted = intent(ledger, prompts, Ask(prompt, ordinals), price=7, limit=10**6)
        call = reserve_call(ledger, wanted)
        assert call is not None
        return call

    served = Served("served-1", "fp-1", "resp-1", ("top_p", "seed"))
    more = {"finish_word": "STOP", "reasoning": "Hm.", "served": served}
    completions = [
        Completion(f"answer {n}", FinishReason.STOP, 5, 3, **more) for n in range(2)
    ]
    store_call_result(ledger, CallResult(generations(one, 0, 1), completions, 5, 6, 13))
    store_call_result(
        ledger, answer(generations(one, 2), "third", "never asked for", cost=4)
    )
    end_call_unanswered(
        ledger, generations(one, 3), billed=False, cause="it was refused"
    )
    lost = generations(one, 3)
    end_call_unanswered(ledger, lost, billed=True, cause="nobody knows")
    store_call_result(ledger, answer(generations(one, 3), "again", cost=5))
    store_call_result(ledger, answer(lost, "late", cost=5))
    end_call_unanswered(ledger, generations(two, 0), billed=True, cause="nobody knows")
    mark_postponed(ledger, generations(two, 0, 1))
    generations(two, 2, 3)
    terms = CallTerms(OwnEndpoint("own"), (1.0, 2.0))
    prompt_ids = prompt_row_ids(ledger, "e", prompts.specs)
    checked = CheckedEndpoint(Scripted(), endpoint_id="e", provider="own", deadline=1.0)
    context = SamplingContext(
        ledger, checked, {}, prompt_ids, terms, None, Retry(), AdaptiveConcurrency(1)
    )
    batch = claim_batch(context, [Ask(three, (0, 1))])
    end_job(ledger, batch, JobRow.FAILED, cause="it came to nothing", job_id="batch-1")
    claim_batch(context, [Ask(three, (0, 1))])
    job = claim_finetune(ledger, "own", "d" * 64, examples=3, recovery=0.0)
    job = update_job(ledger, job, state=JobRow.RUNNING, job_id="ft-1")
    end_job(ledger, job, JobRow.FAILED, cause="no", tokens=12, endpoint="ft:e")
    keep_summary(ledger, "who", "a text", "its summary")
    deployed(ledger, failed=None)
    deployed(ledger, failed="there were no machines")


def deployed(ledger, *, failed):
    wanted = Deployment("e" * 64, "gs://bucket/weights", {"project": "p"}, 1.0)
    job = claim_deployment(ledger, "own", wanted, price=2.0, limit=None, recovery=0.0)
    state = JobRow.RUNNING if failed else JobRow.SUCCEEDED
    update_job(
        ledger, job, state=state, job_id="op-1", endpoint="endpoint-1", ended=5.0
    )
    settle_deployment(ledger, job, stood=True, failed=failed)
