"""Talk to the local container engine with nothing but the standard library.

    container_engine.py answers           exit 0 if an engine answers, 1 if none does
    container_engine.py has IMAGE         exit 0 if the engine has the image
    container_engine.py pull IMAGE        get it from its registry; exit 2 if that cannot be done
    container_engine.py build-base IMAGE  make a base image from this machine, with no registry; with more of it by
                                          --program FILE and --tree DIRECTORY

A base image made here holds what the running machine has: its dynamic loader and C library, a shell and the
everyday programs, the shared libraries that Python and its extension modules link to, and the system's Python
(also the one that runs this script, where it lives below /usr). The same machine gives the same
layer, and an image that is already up to date is left alone.

It knows the Engine API on a Unix socket or plain TCP (DOCKER_HOST), which Podman speaks as well. It needs no
docker command, and knows nothing of mlvc.
"""

import argparse
import hashlib
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path

# What a training script's command line may reasonably call; those that the machine lacks are left out.
PROGRAMS = """
[ awk basename bash cat chmod chown cmp cp cut date dd df diff dirname du echo env expr false find getconf
getent grep gunzip gzip head id install ldconfig ldd ln ls md5sum mkdir mktemp mv nice nl nproc od paste
printf ps pwd readlink realpath rm rmdir sed seq sh sha256sum sleep sort split stat sync tail tar tee test
timeout touch tr true truncate tty uname uniq wc which xargs yes
"""

# What wheels expect of the system (PEP 600), what Python's modules link to, and what glibc loads by name.
LIBRARIES = re.compile(
    r"(ld-linux.*|lib(anl|bz2|c|crypt|crypto|db-5\.3|dl|expat|ffi|gcc_s|gdbm|gdbm_compat|gfortran|gomp|lzma|m|mpdec"
    r"|mvec|ncurses|ncursesw|nsl|nss_[a-z]+|panel|panelw|pthread|quadmath|readline|resolv|rt|sqlite3|ssl|stdc\+\+"
    r"|tinfo|tirpc|util|uuid|z|zstd))\.so(\.[0-9.]+)?$"
)

TREES = ["/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.cache", "/usr/lib/os-release", "/etc/os-release"]
TREES += ["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8", "/usr/share/zoneinfo"]

# Parts of a standard library that no run needs. Installed packages come with the run's own environment.
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3"}

WRITTEN = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}
EMPTY_DIRECTORIES = {
    "dev": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o755,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LABEL = "org.mlvc.base.files"


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=300)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connect() -> http.client.HTTPConnection:
    """Returns a connection to the engine that DOCKER_HOST names, unopened."""
    url = urllib.parse.urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    if url.scheme == "unix":
        return UnixConnection(url.path)
    if url.scheme in {"tcp", "http"} and url.hostname:
        return http.client.HTTPConnection(url.hostname, url.port or 2375, timeout=300)
    raise OSError(f"cannot speak to the engine at {url.geturl()}")


def request(method: str, path: str, body: Iterable[bytes] | None = None) -> tuple[int, bytes]:
    """Returns status and body of the engine's answer. Raises OSError where none answers."""
    connection = connect()
    try:
        headers = {"Content-Type": "application/x-tar"} if body is not None else {}
        connection.request(method, path, body=body, headers=headers, encode_chunked=body is not None)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise OSError(f"the engine's answer is no HTTP: {error!r}") from error
    finally:
        connection.close()


def answers() -> bool:
    try:
        return request("GET", "/_ping")[0] == http.client.OK
    except OSError:
        return False


def find_image(name: str) -> dict | None:
    status, body = request("GET", f"/images/{urllib.parse.quote(name)}/json")
    return json.loads(body) if status == http.client.OK else None


def pull(name: str) -> str:
    """Gets an image from its registry, and returns a line about it.

    Raises:
        OSError: no engine answers, or it cannot get the image.
    """
    repository, _, tag = name.partition(":")
    query = urllib.parse.urlencode({"fromImage": repository, "tag": tag or "latest"})
    status, body = request("POST", f"/images/create?{query}")
    if status != http.client.OK or find_image(name) is None:
        raise OSError(f"{name} cannot be pulled: {body.decode(errors='replace').strip()}")
    return f"{name} is here"


# ---------------------------------------------------------------------------- what goes into a base image


class Root:
    """The paths of this machine that go into the image, with the links that lead to them."""

    def __init__(self) -> None:
        self.paths: set[str] = set()

    def add(self, path: str) -> None:
        """Adds a file, a link with all that it leads to, or an empty directory; every parent comes along."""
        path = os.path.normpath(path)
        if path in self.paths or not os.path.lexists(path):
            return
        parent = os.path.dirname(path)
        if parent != path:
            self.add(parent)
            real_parent = os.path.realpath(parent)
            if real_parent != parent:
                # /lib is a link to usr/lib: the file stands where the link leads.
                self.add(os.path.join(real_parent, os.path.basename(path)))
                return
        self.paths.add(path)
        if os.path.islink(path):
            self.add(os.path.join(parent, os.readlink(path)))

    def add_tree(self, path: str, left_out: frozenset[str] = frozenset()) -> None:
        self.add(path)
        for folder, folders, files in os.walk(path):
            folders[:] = [name for name in folders if name not in left_out and not name.startswith("config-")]
            for name in [*folders, *files]:
                self.add(os.path.join(folder, name))

    def programs(self) -> list[str]:
        return [
            path
            for path in self.paths
            if os.path.isfile(path) and (".so" in path or os.access(path, os.X_OK))
        ]


def libraries_of(files: Iterable[str]) -> Iterator[str]:
    """Yields the shared libraries that the files load, as the dynamic loader finds them."""
    known = sorted(set(files))
    for start in range(0, len(known), 200):
        command = ["ldd", *known[start : start + 200]]
        told = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": PATH})
        yield from re.findall(r"(?:=> |^\s+)(/\S+) \(0x", told.stdout, flags=re.MULTILINE)


def known_libraries() -> Iterator[str]:
    """Yields the machine's libraries, by the loader's cache, that LIBRARIES names."""
    program = next((p for p in ("/usr/sbin/ldconfig", "/sbin/ldconfig") if os.path.exists(p)), "ldconfig")
    told = subprocess.run([program, "-p"], capture_output=True, text=True, check=True, env={"PATH": PATH})
    for name, kind, path in re.findall(r"^\s+(\S+) \(([^)]*)\) => (\S+)$", told.stdout, flags=re.MULTILINE):
        too_narrow = sys.maxsize > 2**32 and "64" not in kind  # A 32-bit library beside the 64-bit ones.
        if LIBRARIES.match(name) and not too_narrow:
            yield path


def interpreters() -> list[tuple[str, str, str]]:
    """Returns prefix, version and standard library of the Python that runs this and of the system's."""
    told = (
        "import sys, sysconfig; print(sys.base_prefix, '%d.%d' % sys.version_info[:2],"
        " sysconfig.get_path('stdlib', vars={'installed_base': sys.base_prefix}), sep='\\n')"
    )
    found = set()
    for program in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(program):
            command = [program, "-I", "-c", told]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            prefix, version, stdlib = answer.splitlines()
            found.add((prefix, version, stdlib))
    return sorted(found)


def collect(programs: Iterable[str] = (), trees: Iterable[str] = ()) -> list[str]:
    """Returns the machine's paths for the image, sorted; with more programs and directories, and their libraries."""
    root = Root()
    for path in programs:
        root.add(path)
    for path in trees:
        root.add_tree(path)
    for directory in ("/bin", "/sbin", "/lib", "/lib64", "/lib32", "/usr/bin", "/usr/sbin", "/usr/lib"):
        root.add(directory)
    for program in PROGRAMS.split():
        for directory in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
            root.add(os.path.join(directory, program))
    for path in TREES:
        root.add_tree(path)
    for path in known_libraries():
        root.add(path)

    for prefix, version, stdlib in interpreters():
        interpreter = os.path.join(prefix, "bin", f"python{version}")
        modules = [str(path) for path in Path(stdlib, "lib-dynload").glob("*.so")]
        libraries = libraries_of([interpreter, *modules])
        if Path(prefix).is_relative_to("/usr"):
            for name in (f"python{version}", "python3", "python"):
                root.add(os.path.join(prefix, "bin", name))
            root.add_tree(stdlib, frozenset(LEFT_OUT))
            root.add_tree(f"/etc/python{version}")
        else:
            # Such an interpreter is brought along by whoever uses the image.
            libraries = (path for path in libraries if not path.startswith(prefix + "/"))
        for path in libraries:
            root.add(path)
    for path in list(libraries_of(root.programs())):
        root.add(path)
    return sorted(root.paths - {"/"})


def list_files(paths: Iterable[str]) -> str:
    """Returns a digest of what would go into the image: it changes when the machine's files do."""
    digest = hashlib.sha256()
    for path in paths:
        facts = os.lstat(path)
        digest.update(
            f"{path}\0{facts.st_mode}\0{facts.st_size}\0{int(facts.st_mtime)}\n".encode(
                errors="surrogateescape"
            )
        )
    digest.update(repr((WRITTEN, EMPTY_DIRECTORIES)).encode())
    return digest.hexdigest()


def archive(paths: Iterable[str]) -> Iterator[bytes]:
    """Yields a tar of the paths, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            if path.lstrip("/") in WRITTEN:
                continue
            tar.inodes = {}  # Hard links become files.
            entry = tar.gettarinfo(path, arcname=path.lstrip("/"))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = int(entry.mtime)
            if not (entry.isreg() or entry.isdir() or entry.issym()):
                continue
            if entry.isreg():
                with open(path, "rb") as file:
                    tar.addfile(entry, file)
            else:
                tar.addfile(entry)
            if buffer.tell() > 4 << 20:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
        for name, mode in EMPTY_DIRECTORIES.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for name, text in WRITTEN.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    yield buffer.getvalue()


def build_base(name: str, programs: Iterable[str] = (), trees: Iterable[str] = ()) -> str:
    """Makes the image unless it is there and up to date, and returns a line about it.

    Raises:
        OSError: no engine answers, or it refuses the image.
    """
    paths = collect(programs, trees)
    files = list_files(paths)
    there = find_image(name)
    if there and ((there.get("Config") or {}).get("Labels") or {}).get(LABEL) == files:
        return f"{name} is up to date"
    repository, _, tag = name.partition(":")
    changes = [f"ENV PATH={PATH}", f"LABEL {LABEL}={files}", 'CMD ["/bin/sh"]']
    query = urllib.parse.urlencode(
        {"fromSrc": "-", "repo": repository, "tag": tag or "latest", "changes": changes}, doseq=True
    )
    status, body = request("POST", f"/images/create?{query}", archive(paths))
    if status != http.client.OK or b'"error"' in body:
        raise OSError(f"the engine refused the image: {body.decode(errors='replace').strip()}")
    size = find_image(name)["Size"] / 1e6
    pythons = ", ".join(f"{version} of {prefix}" for prefix, version, _ in interpreters())
    return f"{name}: {size:.0f} MB, with what these need: Python {pythons}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("answers")
    for command in ("has", "pull", "build-base"):
        commands.add_parser(command).add_argument("image")
    for name in ("--program", "--tree"):
        commands.choices["build-base"].add_argument(name, action="append", default=[], metavar="PATH")
    arguments = parser.parse_args()
    if arguments.command == "answers":
        return 0 if answers() else 1
    try:
        if arguments.command == "has":
            return 0 if find_image(arguments.image) else 1
        if arguments.command == "pull":
            print(pull(arguments.image))
        else:
            print(build_base(arguments.image, arguments.program, arguments.tree))
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
