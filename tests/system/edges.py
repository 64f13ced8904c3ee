"""What stands between client and service: the proxies of deploy/edges as processes, with the very
files we ship and no more than addresses and time limits changed, and two limiters of our own."""
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support import ROOT, clean_environment, free_port, wait_until

SHIPPED = ROOT / "deploy/edges"
UNPACKED = ROOT / "build/edges"  # where tests/run puts what is not installed
PROGRAMS = os.pathsep.join([*(str(UNPACKED / place) for place in ("usr/sbin", "usr/bin")),
                            os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
SERVICE_ADDRESS = "127.0.0.1:8080"  # in all shipped files


def program(name):
    """The path of a program; None where it is not installed."""
    return shutil.which(name, path=PROGRAMS)


def shipped(name, changes):
    """A file of deploy/edges with some of its text replaced, each of which must be in it."""
    text = (SHIPPED / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} does not say {old!r}"
        text = text.replace(old, new)
    return text


class Proxy:
    """One of the proxies we ship a configuration for; limit is its `660s`, changes are further
    changes of the file.  Its port is on loopback, its files are in a directory of its own."""
    name = shipped_name = listens_on = None

    def __init__(self, service, directory, limit, changes=None):
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "log"
        text = shipped(self.shipped_name, {self.listens_on[0]: self.listens_on[1].format(self.port),
                                           SERVICE_ADDRESS: f"127.0.0.1:{service.port}",
                                           "660s": limit, **(changes or {})})
        self.file = directory / self.shipped_name
        self.file.write_text(text)
        self.environment = clean_environment(HOME=str(directory), XDG_DATA_HOME=str(directory),
                                             XDG_CONFIG_HOME=str(directory))
        self.prepare()
        self.check()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environment)
        wait_until(self.is_listening, f"{self.name} to listen")

    def prepare(self):
        pass

    def check(self):
        """The proxy's own judgement of its configuration."""
        done = subprocess.run(self.check_command(), capture_output=True, text=True, timeout=30,
                              env=self.environment)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "[WARNING]" not in said and "[warn]" not in said, said

    def is_listening(self):
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True

    def stop(self):
        self.process.kill()
        self.process.wait()


class Nginx(Proxy):
    name, shipped_name = "nginx", "nginx.conf"
    listens_on = "listen 80;", "listen 127.0.0.1:{};"

    def prepare(self):
        """What /etc/nginx/nginx.conf is on a server: it includes our file."""
        places = "".join(f"{kind}_temp_path {self.directory}/{kind};\n"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.main = self.directory / "main.conf"
        self.main.write_text(
            f"daemon off;\nmaster_process off;\npid {self.directory}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{places}include {self.file};\n}}\n")

    def command(self):
        return [program("nginx"), "-p", self.directory, "-c", self.main, "-e", "stderr"]

    def check_command(self):
        return [*self.command(), "-t"]


class Haproxy(Proxy):
    name, shipped_name = "haproxy", "haproxy.cfg"
    listens_on = "bind :80", "bind 127.0.0.1:{}"

    def command(self):
        return [program("haproxy"), "-db", "-f", self.file]

    def check_command(self):
        return [*self.command(), "-c"]


class Caddy(Proxy):
    name, shipped_name = "caddy", "Caddyfile"
    listens_on = ":80 {", ":{} {{\n\tbind 127.0.0.1"

    def prepare(self):
        """Options of the whole server: no administration port, which all would share."""
        self.main = self.directory / "main"
        self.main.write_text(f"{{\n\tadmin off\n}}\nimport {self.file}\n")

    def command(self):
        return [program("caddy"), "run", "--config", self.main, "--adapter", "caddyfile"]

    def check_command(self):
        return [program("caddy"), "validate", "--config", self.main, "--adapter", "caddyfile"]


PROXIES = {proxy.name: proxy for proxy in (Nginx, Haproxy, Caddy)}


class TotalLimit:
    """A gateway that gives each request a total time, whatever passes meanwhile, and then says 504,
    as API Gateway and Google's load balancer do.  It collects replies whole before it passes
    them on."""

    def __init__(self, service, limit_s):
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.answer(*gateway.ask(self.command, self.path, body, self.headers))

            do_GET = do_POST = do_DELETE = forward

            def answer(self, status, headers, body):
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.service_port, self.limit_s = service.port, limit_s
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = self.tell_what_is_wrong
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def tell_what_is_wrong(*_):
        if not isinstance(sys.exc_info()[1], OSError):  # clients may leave
            traceback.print_exc()

    def ask(self, method, path, body, headers):
        """The service's reply if it is complete in time, else 504."""
        connection = http.client.HTTPConnection("127.0.0.1", self.service_port)
        over = threading.Event()

        def end():
            over.set()
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

        connection.connect()
        timer = threading.Timer(self.limit_s, end)
        timer.start()
        try:
            kept = {name: value for name, value in headers.items() if name.lower() != "connection"}
            connection.request(method, path, body or None, kept)
            reply = connection.getresponse()
            return reply.status, [(name, value) for name, value in reply.getheaders()
                                  if name.lower() != "connection"], reply.read()
        except (OSError, http.client.HTTPException):
            assert over.is_set(), "the service ended the connection"
            body = json.dumps({"message": "Endpoint request timed out"}).encode()
            return 504, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body
        finally:
            timer.cancel()
            connection.close()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Cut:
    """A relay that closes each connection without a word when it is limit_s old, as NAT gateways
    and restarted proxies do."""

    def __init__(self, service, limit_s):
        self.service_port, self.limit_s, self.connections = service.port, limit_s, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):  # stop() closes the listener
            while True:
                client, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self.relay, args=[client], daemon=True).start()

    def relay(self, client):
        service = socket.create_connection(("127.0.0.1", self.service_port))
        with client, service:
            def end():
                for end_point in (client, service):
                    with contextlib.suppress(OSError):
                        end_point.shutdown(socket.SHUT_RDWR)

            timer = threading.Timer(self.limit_s, end)
            timer.start()
            back = threading.Thread(target=self.pump, args=[service, client])
            back.start()
            self.pump(client, service)
            back.join()
            timer.cancel()

    @staticmethod
    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
