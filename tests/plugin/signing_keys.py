"""Keys to sign evidence with, made by openssl in this folder."""

import subprocess


def openssl(command):
    subprocess.run(["openssl", *command.split()], check=True, capture_output=True)


def make_keys():
    for name in ("ours", "theirs"):
        openssl(f"genpkey -algorithm ed25519 -out {name}.key")
        openssl(f"pkey -in {name}.key -pubout -out {name}.pub")
