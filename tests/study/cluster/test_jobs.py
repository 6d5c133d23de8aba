"""What may travel to a cluster, and what is refused before anything is sent."""

from __future__ import annotations

import pytest

from study.cluster.jobs import JobClient, check_travels, chosen_variables
from study.config.files import check_config
from study.errors import UsageError
from tests.study.servers import free_port


def test_chosen_variables_are_passed_on():
    known = {"AWS_ENDPOINT_URL": "http://store:9000", "WBC_STUDY_CACHE": "/scratch", "HOME": "/home/ann"}
    assert chosen_variables(["AWS_ENDPOINT_URL", "WBC_STUDY_CACHE"], known) == {
        "AWS_ENDPOINT_URL": "http://store:9000",
        "WBC_STUDY_CACHE": "/scratch",
    }
    with pytest.raises(UsageError, match="--env NOTHING: not set"):
        chosen_variables(["NOTHING"], known)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "RAY_AUTH_TOKEN",
        "WBC_STUDY_STORAGE",
        "PGPASSWORD",
        "SSH_PASSPHRASE",
        "DB_PWD",
    ],
)
def test_secrets_do_not_travel(name):
    with pytest.raises(UsageError, match="looks like a secret") as refused:
        chosen_variables([name], {name: "hidden"})
    assert "hidden" not in str(refused.value)


def test_an_address_with_a_password_does_not_travel_whatever_the_variable_is_called():
    with pytest.raises(UsageError, match="an address with a password") as refused:
        chosen_variables(["HTTPS_PROXY"], {"HTTPS_PROXY": "http://ann:hidden@proxy:3128"})
    assert "hidden" not in str(refused.value)
    assert chosen_variables(["HTTPS_PROXY"], {"HTTPS_PROXY": "http://proxy:3128"})


@pytest.mark.parametrize("place", ["root", "data.root"])
def test_keys_in_an_address_do_not_travel(place):
    with_keys, plain = "s3://key:hidden@bucket/x", "s3://bucket/x"
    config = check_config({"data": {"source": "folder", "root": with_keys if place == "data.root" else plain}}, "x")
    with pytest.raises(UsageError, match="found an address with @") as refused:
        check_travels(config, with_keys if place == "root" else plain)
    assert "hidden" not in str(refused.value)


def test_a_configuration_of_this_machine_is_refused():
    config = check_config(
        {"data": {"source": "folder", "root": "my_data"}, "pretrain": {"cam16": {"weights": "a.pth"}}}, "x"
    )
    with pytest.raises(
        UsageError, match=r"data\.root: my_data; pretrain\.cam16\.weights: a\.pth: expected absolute paths"
    ):
        check_travels(config, "s3://bucket/studies")


@pytest.mark.parametrize("root", ["/shared/images", "s3://bucket/images"])
def test_a_configuration_of_every_node_is_taken(root):
    check_travels(check_config({"data": {"source": "folder", "root": root}}, "x"), "/shared/studies")


def test_a_root_of_this_machine_is_refused():
    with pytest.raises(UsageError, match=r"--root ray_results: expected s3://"):
        check_travels(check_config({}, "x"), "ray_results")


def test_a_password_does_not_travel():
    config = check_config({"search": {"storage": "postgresql://ann:hidden@host/optuna"}}, "x")
    with pytest.raises(UsageError, match="WBC_STUDY_STORAGE") as refused:
        check_travels(config, "s3://bucket/studies")
    assert "hidden" not in str(refused.value)


def test_an_address_where_nothing_answers_is_refused():
    with pytest.raises(UsageError, match="no Ray dashboard answers there"):
        JobClient(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UsageError, match="expected http://HEAD:8265"):
        JobClient("auto")
