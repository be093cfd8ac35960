"""The HTTP source that curl and aria2 fetch from: nginx with a configuration of its own."""

import os
import urllib.parse

import adapter

PORT = 7702
# Paths are below --state, nginx's prefix. As root, workers stay root: they must read what root can.
CONFIGURATION = """
daemon off;
{user}
worker_processes auto;
worker_rlimit_nofile 65536;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 1000000;
  open_file_cache max=20000 inactive=10m;
  default_type application/octet-stream;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    listen {listen}:{port} reuseport backlog=4096;
    root root;
  }}
}}
"""


def seed(options):
    adapter.link_root(options.state, options.dir)
    configuration = options.state / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(
        user="user root root;" if os.geteuid() == 0 else "", listen=options.listen, port=PORT),
        encoding="utf-8")
    state = options.state.resolve()
    child = adapter.start([adapter.find("nginx"), "-p", state, "-e", state / "error.log", "-c",
                           state / "nginx.conf"])
    adapter.wait_until_listening(child, options.listen, PORT)
    adapter.say("ready")


def url(source, file):
    return f"http://{source}:{PORT}/{urllib.parse.quote(file['path'])}"
