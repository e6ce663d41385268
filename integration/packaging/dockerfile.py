#!/usr/bin/env python3
"""The Dockerfile's steps, as far as they can be looked at without a daemon: what is copied exists, stages are named before they are used, the last
one is not root's, and every file that a compose file mounts is there.

    integration/packaging/dockerfile.py ROOT
"""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
text = (root / "docker/Dockerfile").read_text()
lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENV", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
stages, user = [], None
for line in lines:
    word = line.split()[0]
    assert word in known, f"{word} is no instruction that is used here"
    if word == "FROM":
        user = None
        if " AS " in line:
            stages.append(line.split(" AS ")[1].strip())
    if word == "COPY":
        source = re.search(r"--from=(\S+)", line)
        assert source is None or source.group(1) in stages, f"{line}: no such stage"
    if word == "USER":
        user = line.split()[1]
assert user and not user.startswith(("0", "root")), "the image's user is root"
assert "--locked" in text and "--profile dist" in text

for compose in sorted((root / "docker").glob("compose*.yaml")):
    text = compose.read_text()
    for path in re.findall(r"[\"\s](\.\.?/[^:\s\"]+):", text):
        assert (compose.parent / path).exists(), f"{compose.name} mounts {path}, which is not there"
    images = set(re.findall(r"image: (\S+)", text))
    assert all(":" in image for image in images), f"{compose.name}: an image without a version: {images}"
print("the Dockerfile's steps and the compose files' mounts are right")
