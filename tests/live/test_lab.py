"""The lab itself: that it starts and leaves nothing behind, and that the checker can fail."""

import os
import time

import pytest

from lab import mariadb, plainflip, proc
from lab.checker import Report, check, check_order, master_changes
from lab.lab import Lab, stop_kept
from lab.load import Write
from lab.proc import wait_for


def run_a_little(load, seconds=0.4):
    """Lets the writers write; only the amount of load depends on the time."""
    time.sleep(seconds)
    assert load.process.alive()


def test_pair_replicates_and_target_is_closed(pair):
    source, target = pair.servers["source"], pair.servers["target"]
    assert source.writable and not target.writable
    assert pair.master() is source
    assert target.replica_status()["Master_Host"] == source.address
    assert source.value("SELECT COUNT(*) FROM app.item") == target.value("SELECT COUNT(*) FROM app.item") == 51
    assert target.gtid("gtid_current_pos") == source.gtid("gtid_current_pos")


def test_file_and_position(make_lab):
    lab = make_lab().cluster(gtid=False, options={"gtid_strict_mode": "0"})
    assert lab.servers["target"].replica_status()["Using_Gtid"] == "No"
    assert lab.servers["target"].value("SELECT COUNT(*) FROM app.item") == 51


def test_tls_and_semi_sync(make_lab):
    lab = make_lab().cluster(tls=True, semi_sync=True)
    source, target = lab.servers["source"], lab.servers["target"]
    assert target.replica_status()["Master_SSL_Allowed"] == "Yes"
    assert source.value("SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'") is not None
    with source.connect("app", lab.passwords["app"], tcp=True, ssl={"ca": lab.authority.cert}) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cursor.fetchone()[1]


def test_application_may_not_pass_the_fence(pair):
    target = pair.servers["target"]
    with target.connect("app", pair.passwords["app"], tcp=True) as connection:
        with pytest.raises(Exception) as refused:
            connection.query("INSERT INTO app.log (writer, seq, payload) VALUES (1, 1, 'w1-1')")
    assert refused.value.args[0] == 1290


def test_names(make_lab):
    lab = make_lab().cluster()
    named = lab.dns(secondary=True)
    for zone in named.zones:
        assert named.ask("db." + zone) == ["a1." + zone]
        named.update(zone, "db." + zone, "CNAME", "b1." + zone)
        assert named.ask("db." + zone) == ["b1." + zone]
        wait_for(lambda z=zone: lab.secondary.ask("db." + z) == ["b1." + z], 15, "the secondary")
        with pytest.raises(proc.LabError):  # the key may change its own record only
            named.update(zone, "a1." + zone, "A", lab.address(9))


def test_address_records(make_lab):
    lab = make_lab().cluster()
    lab.dns(kind="A")
    assert lab.named.ask("db.example.test.", "A") == [lab.servers["source"].address]
    load = lab.load(zone="example.test.", writers=2)
    assert set(load.summary["servers"]) == {"1"}


def test_faults(pair):
    target = pair.servers["target"]
    target.freeze()
    target.thaw()
    target.restart(hard=True)
    target.wait_replicating()
    assert not target.writable


def test_nothing_is_left_behind():
    lab = Lab()
    lab.keep = False
    lab.cluster()
    lab.dns()
    lab.load(writers=1)
    rows = list(lab.pids.rows)
    assert len(rows) == 4
    lab.close()
    assert not os.path.exists(lab.dir)
    assert [r for r in rows if proc.start_time(r[0]) == r[1]] == []


def test_a_kept_lab_is_stopped_by_its_directory():
    lab = Lab(keep=True)
    lab.cluster()
    rows = list(lab.pids.rows)
    lab.close()
    assert all(proc.start_time(r[0]) == r[1] for r in rows)
    stop_kept(lab.dir)
    assert not os.path.exists(lab.dir)
    for server in lab.servers.values():
        server.process.child.wait(5)
    with pytest.raises(proc.LabError):
        stop_kept("/tmp")


def test_template_is_made_once():
    before = os.stat(mariadb.template()).st_mtime
    assert os.stat(mariadb.template()).st_mtime == before


# The checker. Reckless flips under load must be caught, each by the rule that it breaks.

def flip_under_load(lab, flip, to="target", **options):
    load = lab.load(interval_ms=1, **options)
    run_a_little(load)
    flip(lab, to)
    run_a_little(load)
    return load


def test_careful_flips_pass(triple, assert_right):
    load = flip_under_load(triple, plainflip.careful, zone="example.test.")
    plainflip.careful(triple, "source")
    run_a_little(load)
    plainflip.careful(triple, "target")
    run_a_little(load)
    report = assert_right(triple, load, ["source", "target", "source", "target"])
    assert report.facts["acked"] > 300
    assert len(report.facts["blackouts_ms"]) == 3
    assert [(c["from"], c["to"]) for c in load.summary["changes"]] == [(1, 2), (2, 1), (1, 2)]


def test_careful_flip_with_transactions_passes(pair, assert_right):
    load = pair.load(writers=4, interval_ms=1, txn=3, txn_idle_ms=2)
    run_a_little(load)
    plainflip.careful(pair, "target")
    run_a_little(load)
    assert_right(pair, load, ["source", "target"])


def test_opening_first_is_caught(pair):
    load = flip_under_load(pair, plainflip.reckless_open_first, warm=True)
    report = check(pair, [load], ["source", "target"])
    assert any("both sides took writes" in p for p in report.problems), str(report)
    assert any("LOST" in p or "differs" in p for p in report.problems), str(report)


def test_not_waiting_is_caught(pair):
    load = flip_under_load(pair, plainflip.reckless_no_sync)
    report = check(pair, [load], ["source", "target"])
    assert any("target: " in p and "LOST" in p for p in report.problems), str(report)


def test_a_late_way_back_is_caught(pair):
    load = flip_under_load(pair, plainflip.reckless_no_way_back)
    report = check(pair, [load], ["source", "target"])
    assert any("app.log differs" in p for p in report.problems), str(report)
    assert any("source: " in p and "LOST" in p for p in report.problems), str(report)


def test_a_lost_row_and_a_stray_row_are_caught(pair):
    load = pair.load(writers=2)
    run_a_little(load, 0.2)
    load.stop()
    source = pair.servers["source"]
    source.query("DELETE FROM app.log WHERE writer=0 ORDER BY seq LIMIT 1")
    source.query("INSERT INTO app.log (writer, seq, payload) VALUES (63, 1, 'w63-1')")
    text = str(check(pair, [load], ["source"]))
    assert "LOST: 0/0" in text and "no writer wrote: 63/1" in text


def test_a_difference_in_one_column_is_caught(pair):
    load = pair.load(writers=1)
    run_a_little(load, 0.1)
    pair.servers["target"].unlogged(["UPDATE app.item SET data=NULL WHERE id=7"])
    assert "app.item differs" in str(check(pair, [load], ["source"]))


def test_an_open_replica_is_caught(pair):
    load = pair.load(writers=1)
    pair.servers["target"].query("SET GLOBAL read_only=0")
    assert "writable as well" in str(check(pair, [load], ["source"]))


def write(server, began, ended, seq, kind="A"):
    return Write(kind, began, ended, ended, 0, seq, server, 0)


def test_order_law():
    """Late reading is no breach; a write that old took after new's first acknowledgement is one."""
    late = [write(1, 0, 10, 1), write(1, 15, 32, 2), write(2, 20, 30, 3), write(2, 33, 40, 4)]
    assert master_changes(late) == ([(1, 2, 10, 30)], 1)
    breach = late + [write(1, 41, 50, 5)]
    assert [c[:2] for c in master_changes(breach)[0]] == [(1, 2), (2, 1)]
    for writes, right in ((late, True), (breach, False)):
        report = Report()
        check_order(report, writes, [1, 2])
        assert report.right is right
