"""What is the "together" provider's own, against a Together server on loopback."""

import time
from functools import partial

import pytest
from clients import DIGEST, deploy, finish, last_body, make_provider, sample, training
from faults import Fault, FaultKind, lose, on_the_way, server_error
from http_server import Response
from machines import Timing
from marks import full
from together_server import PROJECT, PUBLIC

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.interfaces.protocols import JobStatus
from pytest_memleak.providers.call_errors import RequestRejected

provider_of = partial(make_provider, "together", deployment={})
CONFIG = "projects/mine/configs/cr_9"
NAMED = f"memleak-{'5e' * 16}"


def tuned(provider):
    """Fine-tune; the weights' resource name."""
    return finish(provider.poll_finetune, provider.start_finetune(training()))[
        -1
    ].endpoint


def end(provider, name):
    while not provider.abilities.deployments.end(name):
        time.sleep(0.02)


def test_a_model_is_tuned_deployed_asked_and_deleted(serve, books):
    server = serve()
    recipe = {
        "epochs": 2,
        "rank": 8,
        "learning_rate": 1e-4,
        "batch_size": "max",
        "seed": 7,
    }
    provider = provider_of(server, finetune=recipe, deployment={"hours": 3})
    weights = tuned(provider)
    job = last_body(server, "tunes.create")
    assert (job["model"], job["suffix"], job["n_epochs"]) == ("base", NAMED, 2)
    assert (job["batch_size"], job["learning_rate"], job["random_seed"]) == (
        "max",
        1e-4,
        7,
    )
    lora = {"type": "Lora", "lora_r": 8, "lora_alpha": 8}
    assert job["training_type"].items() >= lora.items()
    assert job["lr_scheduler"]["lr_scheduler_type"] == "linear"
    name = deploy(provider, weights)
    wanted = provider.abilities.deployments.needed(weights)
    assert (wanted.weights, wanted.hours, name.split("/")[1]) == (weights, 3.0, PROJECT)
    requested = last_body(server, "deploy")
    assert (requested["model"], requested["inactiveTimeout"]) == (weights, 180)
    assert requested["autoscaling"] == {"minReplicas": 1, "maxReplicas": 1}
    endpoint = provider.open(weights)
    assert len(sample(endpoint)) == 3
    assert endpoint.id == f"{server.url} {weights}"
    assert (
        last_body(server, "chat")["model"]
        == f"acme/memleak-{wanted.digest[:32]}/memleak"
    )
    assert server.machines.standing() == [name]
    end(provider, name)
    assert server.machines.endpoints == {}
    assert provider.abilities.deployments.end(name)  # gone
    assert (
        provider.abilities.deployments.poll(name).detail
        == "Its endpoint or deployment is gone"
    )
    with pytest.raises(RequestRejected, match="404"):
        sample(endpoint)
    assert [row["endpoint"] for row in books.rows("undeployment")] == [name]


def test_an_adapter_is_deployed_where_there_is_no_merged_model(serve, books):
    provider = provider_of(serve(merges=False))
    weights = tuned(provider)
    assert deploy(provider, weights)
    assert [row["weights"] for row in books.rows("deployment")] == [weights]


def test_a_base_model_is_deployed_by_its_name(serve, books):
    server = serve(models=("base", "base-2"))
    assert deploy(provider_of(server))
    assert [row["weights"] for row in books.rows("deployment")] == [f"{PUBLIC}base"]
    with pytest.raises(ProviderError, match="deploys no model of this name"):
        deploy(provider_of(server, base="bas"))


@pytest.mark.parametrize("count", [0, 2])
def test_one_of_several_configs_must_be_named(serve, books, count):
    server = serve(configs=count)
    with pytest.raises(ProviderError, match=f"The model has {count} configs") as error:
        deploy(provider_of(server))
    assert 'config = "projects/..."' in error.value.hint
    if count:
        assert (
            "(projects/together/configs/cr_1, projects/together/configs/cr_2)"
            in str(error.value)
        )
    assert server.machines.endpoints == {}
    assert deploy(provider_of(server, deployment={"config": CONFIG}))
    assert [row["resources"] for row in books.rows("deployment")] == [CONFIG]


@pytest.mark.parametrize(("recipe", "message"), [
    ({"rank": 128}, "finetune.rank is 128, but the model allows 1 to 64"),
    ({"batch_size": 1}, "finetune.batch_size is 1, but the model allows 8 to 64"),
    ({"epochs": 21}, "finetune.epochs is 21, but the model allows 1 to 20"),
    ({"learning_rate": 0.5}, "finetune.learning_rate is 0.5, but the model allows 1e-08"),
])  # fmt: skip
def test_a_recipe_that_the_model_does_not_allow_is_told_before_it_is_sent(
    serve, recipe, message
):
    server = serve()
    with pytest.raises(ProviderError, match=message):
        provider_of(server, finetune=recipe).start_finetune(training())
    assert server.plan.counts() == {"tunes.limits": 1}


def test_whose_project_it_is(serve, monkeypatch):
    server = serve()
    assert deploy(provider_of(server)).split("/")[1] == PROJECT
    monkeypatch.setenv("TOGETHER_PROJECT_ID", "of-the-environment")
    assert (
        deploy(provider_of(server, base=f"{PUBLIC}base")).split("/")[1]
        == "of-the-environment"
    )
    calls = server.plan.calls("whoami")
    assert deploy(provider_of(server, project="mine")).split("/")[1] == "mine"
    assert server.plan.calls("whoami") == calls == 1
    monkeypatch.delenv("TOGETHER_PROJECT_ID")
    server._work = lambda route, request: Response.json({"type": "org_api_key"})
    with pytest.raises(ProviderError, match="The key belongs to no project") as error:
        deploy(provider_of(server))
    assert "options.project" in error.value.hint


def test_the_same_weights_are_deployed_once(serve, books):
    server = serve(lose("deploy", calls=(0,)))
    platform = provider_of(server).abilities.deployments
    wanted = platform.needed(None)
    assert platform.find(wanted.digest, None) is None
    with pytest.raises(ProviderBusy, match=r"deployments\.create"):
        platform.start(wanted)
    name = platform.find(wanted.digest, time.time())
    assert platform.start(wanted) == name
    assert len(books.rows("deployment")) == 1


def test_an_endpoint_whose_deployment_never_came_is_used_or_deleted(serve):
    server = serve(
        server_error("deploy", calls=(0,)),
        server_error("deploy", calls=(1,), status=400),
    )
    platform = provider_of(server).abilities.deployments
    wanted = platform.needed(None)
    with pytest.raises(ProviderBusy):
        platform.start(wanted)
    [empty] = server.machines.endpoints.values()
    assert platform.find(wanted.digest, None) is None
    assert platform.poll(empty.name).status is JobStatus.FAILED
    with pytest.raises(ProviderError, match="has no deployment"):
        platform.move_in(wanted, empty.name, time.time())
    with pytest.raises(RequestRejected):  # rejected: nothing is left
        platform.start(wanted)
    assert server.machines.endpoints == {}
    assert platform.start(wanted)


def test_a_deployment_is_running_until_it_fails_or_takes_too_long(serve):
    slow = Timing(deploys_in=4 * 3600)
    server = serve(Fault(FaultKind.FAIL, "deploy", calls=(0,)), timing=slow)
    provider = provider_of(server)
    platform = provider.abilities.deployments
    name = platform.start(platform.needed(None))
    assert platform.poll(name).status is JobStatus.RUNNING
    server.machines.timing = Timing()
    state = finish(platform.poll, name)[-1]
    assert state.detail == "failed: there are no accelerators left"
    end(provider, name)
    name = platform.start(platform.needed(None))
    [deployment] = next(iter(server.machines.endpoints.values())).deployments.values()
    deployment.began -= 3 * 3600
    server.machines.timing = slow
    assert platform.poll(name).detail == "It isn't ready after 2:00:00"


VERBS = {
    *(
        "whoami",
        "models.list",
        "models.get",
        "configs.list",
        "endpoints.list",
        "endpoints.create",
    ),
    *(
        "deploy",
        "endpoints.get",
        "endpoints.undeploy",
        "deployments.delete",
        "endpoints.delete",
    ),
}


@pytest.mark.parametrize(
    "way", ["lost", *map(full, ("429", "500", "dropped", "truncated"))]
)
@pytest.mark.parametrize("place", sorted(VERBS))
def test_every_verb_of_deployments_may_be_tried_again(serve, books, place, way):
    server = serve(
        on_the_way(way, place, calls=(0,)), timing=Timing(0.0, undeploys_in=0.0)
    )
    # Only of weights, it is asked which model they are of.
    provider = provider_of(
        server, base=f"{PUBLIC}base" if place == "models.get" else "base"
    )
    platform = provider.abilities.deployments
    wanted, failures = platform.needed(None), []

    def again(verb):
        while True:
            try:
                return verb()
            except ProviderBusy as error:
                failures.append(error)

    name = again(lambda: platform.find(wanted.digest, None) or platform.start(wanted))
    again(lambda: finish(platform.poll, name))
    again(lambda: platform.move_in(wanted, name, time.time() + 60))
    assert len(sample(provider.open(None))) == 3
    again(lambda: end(provider, name))
    assert len(failures) == 1
    assert len(books.rows("deployment")) == 1
    assert server.machines.endpoints == {}


def test_only_an_upload_follows_a_redirect_and_without_the_key(serve):
    """The emulator sees to it that the upload has no key."""
    server = serve(key="tgp_v1_Vq3x9LmT0aZr7Bn2Kd5W")
    assert provider_of(server).start_finetune(training())
    server.plan.replace(
        [Fault(FaultKind.HOSTILE, "tunes.list", code="redirect_elsewhere")]
    )
    with pytest.raises(ProviderError, match="redirects to a different server"):
        provider_of(server).find_finetune(DIGEST)
