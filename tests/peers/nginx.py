"""A private nginx as mail proxy: it asks an HTTP server of ours where a recipient's mail goes, and tells with XCLIENT who sent it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from .peer import LOGIN, Hop, Login, Relay
from .scratch import free_port, listens, tail, wait_for

CONFIGURATION = """\
daemon off;
worker_processes 2;
pid {home}/pid;
error_log {home}/error.log info;
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
events {{
    worker_connections 1000;
}}
mail {{
    server_name nginx.posthaste.test;
    auth_http 127.0.0.1:{asked};
    ssl_certificate {certificate.chain};
    ssl_certificate_key {certificate.key};
    timeout 5m;
    smtp_capabilities "SIZE 104857600" 8BITMIME SMTPUTF8 PIPELINING;
    smtp_client_buffer 64k;
    proxy_buffer 64k;
    xclient on;
    server {{
        listen 127.0.0.1:{port};
        protocol smtp;
        smtp_auth none;
        starttls on;
    }}
    server {{
        listen 127.0.0.1:{login_port};
        protocol smtp;
        smtp_auth plain login;
        starttls only;
        auth_http_header X-Domain to-auth.test;
    }}
    server {{
        listen 127.0.0.1:{pass_port};
        protocol smtp;
        smtp_auth plain;
        starttls only;
        proxy_smtp_auth on;
        auth_http_header X-Domain from-auth.test;
    }}
    server {{
        listen 127.0.0.1:{tls_port} ssl;
        protocol smtp;
        smtp_auth none;
    }}
}}
"""


class Nginx(Relay):
    TITLE = "nginx mail proxy"
    DEBIAN = ("libnginx-mod-mail",)
    TRACE = ()
    INTO = ("plain", "STARTTLS", "implicit TLS", "AUTH")
    OUT = ("plain", "AUTH")
    CLEAR_LOGIN = True
    TELLS = dict.fromkeys(OUT, 'xclient = ["127.0.0.1/32"]')
    REMARKS = ["It tells posthaste the client's address with XCLIENT, and logs in with what the client logged in with."]
    LACKS = {
        "TLS from it": "nginx speaks clear text to the server behind it",
    }

    def __init__(self, scratch, certificate, routes):
        super().__init__(scratch, certificate, routes)
        self.login_port, self.pass_port = free_port(), free_port()

    def entry(self, domain, tls="none", login=None):
        if domain == "to-auth.test":
            return Hop(self.login_port, tls, login)
        if domain == "from-auth.test":
            return Hop(self.pass_port, "starttls", LOGIN)
        return super().entry(domain, tls, login)

    def start(self):
        self.oracle = Oracle(self.routes)
        text = CONFIGURATION.format(
            home=self.home,
            asked=self.oracle.port,
            port=self.port,
            tls_port=self.tls_port,
            login_port=self.login_port,
            pass_port=self.pass_port,
            certificate=self.certificate,
        )
        file = self.scratch.write(f"{self.name}/nginx.conf", text)
        self.process = self.view.start(["nginx", "-c", file])
        wait_for("nginx", lambda: listens(self.port), self.process)
        return self

    def stop(self):
        super().stop()
        self.oracle.close()

    def log_tail(self):
        return super().log_tail() + tail(f"{self.home}/error.log")


class Oracle:
    """Answers nginx's `auth_http`: the server for the domain of the first recipient, or for who has logged in."""

    def __init__(self, routes):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                recipient = self.headers.get("Auth-SMTP-To", "").rpartition("<")[2].partition(">")[0]
                hop = routes.get(self.headers.get("X-Domain") or recipient.rpartition("@")[2])
                if self.headers.get("Auth-Method") != "none":
                    said = Login(unquote(self.headers["Auth-User"]), unquote(self.headers["Auth-Pass"]))
                    hop = hop if said == LOGIN else None
                self.send_response(200)
                for name, value in _answer(hop).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def _answer(hop):
    if not hop:
        return {"Auth-Status": "no such domain", "Auth-Error-Code": "550 5.1.2"}
    return {"Auth-Status": "OK", "Auth-Server": "127.0.0.1", "Auth-Port": str(hop.port)}
