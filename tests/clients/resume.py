#!/usr/bin/env python3
"""Uploads random files to `holdall serve` with real tus clients while connections are cut at random points and the server is
killed with SIGKILL and started again; then compares the bytes. No offset that was reported or acknowledged may come back
smaller.

usage: resume.py [--store URL] [--size BYTES] [--chunk BYTES] [--rounds N] [--kills N] [--seed N] HOLDALL CLIENT
CLIENT is `tuspy`, which has to be installed for this Python, or `js:DIRECTORY`, where DIRECTORY holds the node_modules of
tus-js-client. URL is a store that holdall takes, such as s3://bucket?endpoint=…, in which each round has a folder of its own;
without it the store is on the file system of the current temporary directory. CHUNK is the most bytes of one PATCH; without
it one PATCH takes all there is.
"""

import argparse
import hashlib
import http.client
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent


class Server:
    """`holdall serve` on a port that stays the same when it is started again."""

    def __init__(self, program, store):
        self.command = [program, "serve", store, "--log", "warn", "--listen"]
        self.port = 0
        self.start()

    def start(self):
        command = [*self.command, f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)/files/", line)[1])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def offset(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("HEAD", path, headers={"Tus-Resumable": "1.0.0"})
        response = connection.getresponse()
        assert response.status == 200, f"HEAD {path}: {response.status}"
        return int(response.headers["Upload-Offset"])

    def sha256(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200, f"GET {path}: {response.status}"
        digest = hashlib.sha256()
        while piece := response.read(1 << 20):
            digest.update(piece)
        return digest.hexdigest()


class Proxy(threading.Thread):
    """Passes connections on to the server, cuts some of them, and kills the server now and then."""

    def __init__(self, server, size, kills, rng):
        super().__init__(daemon=True)
        self.server, self.size, self.rng = server, size, rng
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cuts = rng.randrange(3, 7)
        self.passed = 0
        self.kill_at = sorted(rng.randrange(size) for _ in range(kills))
        self.path = None
        self.told = 0
        self.failure = None
        self.lock = threading.Lock()
        self.telling = threading.Lock()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.connection, args=[client], daemon=True).start()

    def connection(self, client):
        with self.lock:
            cut_after = self.rng.randrange(self.size // 2) if self.cuts > 0 else None
        try:
            server = socket.create_connection(("127.0.0.1", self.server.port))
        except OSError:
            client.close()
            return
        threading.Thread(target=self.answers, args=[server, client], daemon=True).start()
        sent = 0
        try:
            while piece := client.recv(1 << 16):
                if cut_after is not None and sent + len(piece) > cut_after:
                    server.sendall(piece[: cut_after - sent])
                    with self.lock:
                        self.cuts -= 1
                    break
                server.sendall(piece)
                sent += len(piece)
                self.count(len(piece))
            else:
                server.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        for end in (client, server):
            end.close()

    def count(self, length):
        """Kills the server where that is due."""
        with self.lock:
            self.passed += length
            if not self.kill_at or self.path is None or self.passed < self.kill_at[0]:
                return
            self.kill_at.pop(0)
            try:
                # What a caller was told by HEAD counts too, but asking must not be what makes a kill harmless.
                if self.rng.random() < 0.5:
                    self.tell(self.server.offset(self.path))
                self.server.kill()
                told = self.told
                self.server.start()
                left = self.server.offset(self.path)
                assert left >= told, f"{told} was told, and {left} is left"
            except Exception as error:
                self.failure = error

    def tell(self, offset):
        with self.telling:
            self.told = max(self.told, offset)

    def answers(self, server, client):
        try:
            while piece := server.recv(1 << 16):
                found = re.search(rb"\r\nlocation: (\S+)\r\n", piece, re.IGNORECASE)
                if found:
                    self.path = found[1].decode()
                for offset in re.findall(rb"\r\nupload-offset: (\d+)\r\n", piece, re.IGNORECASE):
                    self.tell(int(offset))
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            client.close()


def upload_with_tuspy(url, file, chunk, _):
    from tusclient import client as tus

    location, failures = None, 0
    while True:
        try:
            uploader = tus.TusClient(url).uploader(str(file), chunk_size=chunk or file.stat().st_size, url=location)
            location = uploader.url
            uploader.upload()
            return
        except Exception as error:
            failures += 1
            if failures > 10_000:
                raise
            location = location or getattr(locals().get("uploader"), "url", None)
            time.sleep(0.01)


def upload_with_js(url, file, chunk, directory):
    subprocess.run(["node", str(HERE / "upload.mjs"), directory, url, str(file), str(chunk or "Infinity")], check=True, timeout=3600)


def folder_of(store):
    """A folder that was not there before, in a store."""
    place, mark, query = store.partition("?")
    return f"{place.rstrip('/')}/{os.urandom(8).hex()}{mark}{query}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store")
    parser.add_argument("--chunk", type=int)
    parser.add_argument("--size", type=int, default=32 << 20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("holdall")
    parser.add_argument("client")
    arguments = parser.parse_args()
    client, _, directory = arguments.client.partition(":")
    upload = {"tuspy": upload_with_tuspy, "js": upload_with_js}[client]
    print(f"{client}: seed {arguments.seed}", flush=True)
    for number in range(arguments.rounds):
        rng = random.Random(arguments.seed + number)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "file")
            digest = hashlib.sha256()
            with file.open("wb") as out:
                for start in range(0, arguments.size, 1 << 20):
                    piece = os.urandom(min(1 << 20, arguments.size - start))
                    digest.update(piece)
                    out.write(piece)
            server = Server(arguments.holdall, folder_of(arguments.store) if arguments.store else f"file:{folder}/store")
            try:
                proxy = Proxy(server, arguments.size, arguments.kills, rng)
                proxy.start()
                begin = time.monotonic()
                upload(f"http://127.0.0.1:{proxy.port}/files/", file, arguments.chunk, directory)
                if proxy.failure:
                    raise proxy.failure
                assert not proxy.kill_at, "the server was not killed as often as it should have been"
                assert server.sha256(proxy.path) == digest.hexdigest(), "other bytes than were sent"
                print(f"{client}: round {number + 1}: equal, after {time.monotonic() - begin:.1f} s", flush=True)
            finally:
                server.kill()


if __name__ == "__main__":
    sys.exit(main())
