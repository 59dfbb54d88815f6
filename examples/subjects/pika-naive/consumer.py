"""The consumer everybody writes first: pika, one thread, no reconnect.

It works until something happens. A lost connection ends it with a traceback, a handler slower than the
heartbeat gets it disconnected (the thread that handles is the thread that answers heartbeats), SIGTERM
kills it in the middle of a message, and /health says UP through all of it.
"""

import http.server
import os
import threading
import time

import pika


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "UP"}\n')

    def log_message(self, *args):
        pass


def on_message(channel, method, properties, body):
    time.sleep(int(os.environ.get("GAUNTLET_HANDLER_TIME_MS", "0")) / 1000)  # the work
    print(f"handled {properties.message_id}", flush=True)
    channel.basic_ack(method.delivery_tag)


def main():
    if address := os.environ.get("GAUNTLET_HEALTH"):
        host, port = address.rsplit(":", 1)
        server = http.server.ThreadingHTTPServer((host, int(port)), Health)
        server.handle_error = lambda *_: None  # a prober that hangs up is no news
        threading.Thread(target=server.serve_forever, daemon=True).start()

    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=int(os.environ.get("GAUNTLET_PREFETCH", "10")))
    channel.basic_consume(os.environ["GAUNTLET_QUEUE"], on_message)
    channel.start_consuming()


if __name__ == "__main__":
    main()
