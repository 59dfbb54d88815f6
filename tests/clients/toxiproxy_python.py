"""What toxiproxy-python (PyPI) can do, done to the server at HOST PORT: each line of its public API, with what it is to do.

    python toxiproxy_python.py 127.0.0.1 8474
"""

import contextlib
import socket
import socketserver
import sys
import threading
import time

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        if self.rfile.readline().strip():
            self.wfile.write(b"answer\n")


@contextlib.contextmanager
def upstream():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield "localhost:%d" % server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def address(proxy):
    host, port = proxy.listen.split(":")
    return host, int(port)


def answers(proxy):
    """How long the upstream takes to answer through the proxy."""
    with socket.create_connection(address(proxy), timeout=10) as client:
        began = time.monotonic()
        client.sendall(b"question\n")
        assert client.recv(100) == b"answer\n"
        return time.monotonic() - began


def refuses(proxy):
    with socket.socket() as client:
        return client.connect_ex(address(proxy)) != 0


def raises(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError("no %s from %s" % (error.__name__, call))


def play(server):
    assert server.running() and b"2.12.0" in server.version()
    with upstream() as target:
        proxy = server.create(upstream=target, name="py")
        assert (proxy.name, proxy.upstream, proxy.enabled) == ("py", target, True)
        assert server.get_proxy("py").listen == proxy.listen and server.get_proxy("none") is None
        raises(ProxyExists, lambda: server.create(upstream=target, name="py"))
        answers(proxy)

        proxy.add_toxic(type="latency", attributes={"latency": 100})
        proxy.add_toxic(type="latency", name="second", stream="upstream", attributes={"latency": 100})
        assert sorted(proxy.toxics()) == ["latency_downstream", "second"]
        toxic = proxy.get_toxic("latency_downstream")
        assert (toxic.type, toxic.attributes["latency"], toxic.toxicity) == ("latency", 100, 1)
        assert answers(proxy) >= 0.2
        raises(ProxyExists, lambda: proxy.add_toxic(type="latency"))
        raises(InvalidToxic, lambda: proxy.add_toxic(type="latency", stream="sideways"))
        raises(InvalidToxic, lambda: proxy.add_toxic(type="bogus"))
        assert proxy.destroy_toxic("second")
        raises(NotFound, lambda: proxy.destroy_toxic("second"))

        proxy.disable()
        assert refuses(proxy) and not server.get_proxy("py").enabled
        proxy.enable()
        assert answers(proxy) >= 0.1
        with proxy.down():
            assert refuses(proxy)
        proxy.disable()
        server.reset()
        assert proxy.toxics() == {}
        answers(proxy)

        closed = server.create(upstream=target, name="closed", listen="127.0.0.1:0", enabled=False)
        assert closed.enabled is False
        populated = server.populate([{"name": "one", "upstream": target, "listen": "localhost:0"}])
        assert [one.name for one in populated] == ["one"]
        answers(populated[0])
        assert server.destroy(proxy) and refuses(proxy)
        raises(NotFound, proxy.destroy)
        server.destroy_all()
        assert server.proxies() == {}


if __name__ == "__main__":
    toxiproxy = Toxiproxy()
    toxiproxy.update_api_consumer(sys.argv[1], int(sys.argv[2]))
    play(toxiproxy)
    print("toxiproxy-python: all of it works")
