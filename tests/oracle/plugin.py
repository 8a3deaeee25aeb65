"""Runs the binary under test and takes its answer apart."""

import os
import re
import tempfile

LONGEST_ANSWER = 65536


class Answer:
    """One run: exit status, the text, and the performance data of line 1."""

    def __init__(self, status, output):
        self.status = status
        self.output = output.decode("utf-8", "replace")
        self.line = self.output.split("\n", 1)[0]
        text, _, self.perfdata = self.line.partition("|")
        self.text = text

    def values(self):
        """Label to value of the performance data, without units and thresholds."""
        return {label: value for label, value in re.findall(r"([a-z_]+)=(-?[0-9.]+)", self.perfdata)}


def run(arguments):
    """Runs the binary with an empty stdin and environment. Arguments are bytes or text."""
    binary = os.environ["CHECK_CONNTRACK"]
    arguments = [a if isinstance(a, bytes) else a.encode("utf-8", "surrogateescape") for a in arguments]
    out, into = os.pipe()
    try:
        pid = os.posix_spawn(binary, [b"check_conntrack", *arguments], {}, file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, into, 1),
            (os.POSIX_SPAWN_DUP2, into, 2)])
    finally:
        os.close(into)
    output = b""
    try:
        while len(output) < LONGEST_ANSWER and (piece := os.read(out, LONGEST_ANSWER)):
            output += piece
    finally:
        os.close(out)
        _, status = os.waitpid(pid, 0)
    return Answer(os.waitstatus_to_exitcode(status), output)


def write(path, content):
    """Writes a file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        while content:
            content = content[os.write(file, content):]
    finally:
        os.close(file)


class Folder:
    """A temporary directory that holds a proc root, a directory for the state, and a capture."""

    def __init__(self):
        # a file system in memory is several times faster
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
        self._directory = tempfile.TemporaryDirectory(prefix="check_conntrack-oracle.", dir=memory)
        self.path = self._directory.name
        self.proc = os.path.join(self.path, "proc")
        self.state = os.path.join(self.path, "state")
        self.capture = os.path.join(self.path, "capture")
        os.mkdir(self.state, 0o700)
        self._files = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._directory.cleanup()

    def holds(self, files):
        """Replaces the files below the proc root by these: name to text."""
        for name in self._files.keys() - files.keys():
            os.unlink(os.path.join(self.proc, name))
        for name, text in files.items():
            if self._files.get(name) != text:
                path = os.path.join(self.proc, name)
                if name not in self._files:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                write(path, text.encode())
        self._files = dict(files)

    def forgets(self):
        """Removes the state of earlier runs."""
        for name in os.listdir(self.state):
            os.unlink(os.path.join(self.state, name))
