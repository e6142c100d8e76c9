"""A server on the loopback that answers as Google's Cloud Storage documents its XML API.

Nothing that is free to install speaks that API, which obstore uses. What matters here is what
differs from S3: a write on a condition names a generation, and a removal of what is not there is
answered by 404 (https://cloud.google.com/storage/docs/xml-api/overview).
"""

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from obstore.store import from_url

BUCKET = "gs://results-of-runs"


class _Bucket(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def _key(self):
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    def do_PUT(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match = self.headers.get("x-goog-if-generation-match")
        with self.server.lock:
            objects = self.server.objects
            if source := self.headers.get("x-goog-copy-source"):
                name = unquote(source).lstrip("/").partition("/")[2]
                if name not in objects:
                    return self._answer(404)
                content = objects[name][0]
            now = objects[self._key][1] if self._key in objects else 0
            if match is not None and int(match) != now:
                return self._answer(412)
            self.server.generation += 1
            objects[self._key] = content, self.server.generation, time.time()
            return self._answer(200, headers=_headers(objects[self._key]))

    def do_GET(self):
        if not self._key:
            return self._listed(parse_qs(urlsplit(self.path).query))
        found = self.server.objects.get(self._key)
        if found is None:
            return self._answer(404)
        return self._answer(200, found[0], _headers(found))

    def do_HEAD(self):
        self.do_GET()

    def do_DELETE(self):
        found = self.server.objects.pop(self._key, None)
        self._answer(404 if found is None else 204)

    def _listed(self, query):
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        contents, folders = "", set()
        for key, (content, _, at) in sorted(self.server.objects.items()):
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            contents += (
                f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
                f"<LastModified>{when}</LastModified><ETag>x</ETag></Contents>"
            )
        for name in sorted(folders):
            contents += f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        self._answer(200, f"<ListBucketResult>{contents}</ListBucketResult>".encode())

    def _answer(self, status, content=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _headers(found):
    content, generation, at = found
    return {
        "ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"',
        "x-goog-generation": str(generation),
        "Last-Modified": formatdate(at, usegmt=True),
    }


@contextmanager
def served(folder):
    """The server; gives a function that opens its one bucket in place of Google's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    server.lock, server.objects, server.generation = threading.Lock(), {}, 1_000
    threading.Thread(target=server.serve_forever, daemon=True).start()
    account = folder / "account.json"
    nobody = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    url = f"http://127.0.0.1:{server.server_port}"
    account.write_text(json.dumps({"gcs_base_url": url, "disable_oauth": True, **nobody}))
    bucket = from_url(BUCKET, service_account=str(account), client_options={"allow_http": True})
    try:
        yield lambda *_, **__: bucket
    finally:
        server.shutdown()
        server.server_close()
