"""What becomes of the API server's answers; the server is a real one of HTTP that says what the test wants."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from lateen_operator.cluster.client import ApiError, Client
from lateen_operator.cluster.resources import JOBS


def get(answer: web.Response) -> dict:
    """What a client has of a GET that is answered so."""

    async def ask() -> dict:
        async def serve(request: web.Request) -> web.Response:
            return answer

        app = web.Application()
        app.router.add_get("/{path:.*}", serve)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            return await Client(session, str(server.make_url("")).rstrip("/")).get(JOBS, "team", "nano")

    return asyncio.run(ask())


def test_an_object_is_read():
    assert get(web.json_response({"metadata": {"name": "nano"}})) == {"metadata": {"name": "nano"}}


@pytest.mark.parametrize("text", ["<html>maintenance</html>", '{"metadata": {"na', ""])
def test_an_answer_that_is_no_json_is_an_error_of_the_server_and_none_of_the_job(text: str):
    with pytest.raises(ApiError) as caught:
        get(web.Response(text=text))
    assert caught.value.status == 200
    assert str(caught.value).endswith(f"namespaces/team/lmtrainingjobs/nano: 200 the answer is no JSON: {text!r}")
