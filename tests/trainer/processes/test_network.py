"""Addresses, ports and proxies."""

import socket

import pytest
from lateen_trainer.errors import UserError
from lateen_trainer.processes.network import (
    bypass_proxies,
    format_address,
    is_loopback,
    listen,
    parse_address,
    reserve_port,
)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("trainer-0.job.ns.svc:7070", ("trainer-0.job.ns.svc", 7070)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_an_address_is_read_and_written(address: str, parts: tuple[str, int]):
    assert parse_address(address) == parts
    assert format_address(*parts) == address


@pytest.mark.parametrize("address", ["trainer-0", "trainer-0:", ":80", "a:b", "a:0", "a:65536"])
def test_another_form_is_the_users_error(address: str):
    with pytest.raises(UserError, match=r"LATEEN_COORDINATOR is .* expected host:port"):
        parse_address(address)


def test_loopback():
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "10.0.0.1")] == [
        True, True, True, True, False
    ]  # fmt: skip


def test_a_loopback_address_is_not_served_to_others():
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_other_addresses_are_served_on_all_interfaces():
    with listen("trainer-0.job", 0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()


def test_a_taken_port_names_itself():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"LATEEN_COORDINATOR: process 0 cannot listen on port {port} "):
            listen("127.0.0.1", port)


def test_a_reserved_port_is_kept_from_others():
    with reserve_port("127.0.0.1") as holder, pytest.raises(OSError):
        socket.create_server(("127.0.0.1", holder.getsockname()[1]))


def test_without_a_proxy_nothing_changes():
    environ: dict[str, str] = {"no_proxy": "example.org"}
    bypass_proxies(environ, "trainer-0")
    assert environ == {"no_proxy": "example.org"}


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY"])
def test_peers_are_reached_past_a_proxy(variable: str):
    environ = {variable: "http://proxy:3128", "no_proxy": "example.org,localhost"}
    bypass_proxies(environ, "trainer-0")
    assert environ["no_proxy"] == "example.org,localhost,127.0.0.1,::1,.svc,.cluster.local,trainer-0"
    assert environ["NO_PROXY"] == "localhost,127.0.0.1,::1,.svc,.cluster.local,trainer-0"
