import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ivm_data.local_page import OnlyThisMachine

HERE = "http://127.0.0.1:7860"


@pytest.fixture
def client():
    async def answer(request):
        return PlainTextResponse("the page")

    async def talk(socket):
        await socket.accept()
        await socket.close()

    routes = [Route("/", answer, methods=["GET", "POST", "PUT", "DELETE"]), WebSocketRoute("/talk", talk)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(OnlyThisMachine)]), base_url=HERE)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "localhost", "[::1]:7860"])
def test_this_machine_reaches_the_page_under_its_own_names(client, host):
    assert client.get("/", headers={"Host": host}).text == "the page"
    assert client.post("/", headers={"Host": host, "Origin": f"http://{host}"}).text == "the page"
    assert client.post("/", headers={"Host": host}).text == "the page"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7860", "[", ""])
def test_a_foreign_name_is_refused_for_whatever_it_asks(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 421
    assert client.post("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:7860", "http://127.0.0.1:1", "http://["]
)
def test_a_foreign_page_changes_nothing(client, origin):
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, "/", headers={"Origin": origin}).status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/talk", headers={"Origin": origin}):
        pass


def test_a_socket_of_the_own_page_is_opened(client):
    with client.websocket_connect("/talk", headers={"Origin": HERE, "Host": "127.0.0.1:7860"}):
        pass
