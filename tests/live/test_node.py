"""The verbs of lib/provider/node.h against two real servers: build/tests/live/node_live goes through all of them, with
the accounts that grants_text() makes, and ends at the first thing that is not so."""

import subprocess

import pytest

from lab import places


@pytest.mark.parametrize("domain", ["0", "7"])
def test_every_verb(make_lab, domain):
    lab = make_lab()
    source = lab.server("source", 1, {"read_only": None, "gtid_domain_id": domain}).start()
    target = lab.server("target", 2, {"read_only": "1", "gtid_domain_id": domain}).start()
    for server in (source, target):
        server.unlogged(["CREATE USER exerciser@'%' IDENTIFIED BY 'exerciser'",
                         "GRANT ALL ON *.* TO exerciser@'%' WITH GRANT OPTION"])
    done = subprocess.run([places.built("tests/live/node_live"), source.address, str(source.port), target.address,
                           str(target.port), "exerciser", "exerciser"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    # What a restart leaves: the default, and what the option file says.
    assert "source boots_read_only 0" in done.stdout
    assert "target boots_read_only 1" in done.stdout
    assert "all so" in done.stdout
