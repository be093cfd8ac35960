#!/usr/bin/env python3
"""One libtorrent peer for bench/network.py: all that it needs to know comes as arguments. The adapter
libtorrent.py makes its torrents and sessions with what stands here, too.

    libtorrent_node.py make SOURCE TORRENT PIECE_BYTES
    libtorrent_node.py seed|fetch TORRENT DIRECTORY ADDRESS:PORT SETTINGS PEER...

SETTINGS is JSON: {"queue": requests under way to a peer, "super_seeding": bool}. Peers are
ADDRESS:PORT. A node prints {"event":"ready"} once it listens, connects to the peers after a line on
stdin, prints {"event":"done"} when it has everything, and ends after the next line, with a last
{"event":"end"} that counts payload bytes.
Needs python3-libtorrent.
"""

import json
import pathlib
import sys

# The adapter libtorrent.py beside this file is not what is meant.
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if pathlib.Path(entry).resolve() != HERE]
import libtorrent  # noqa: E402  (found through the line above)

MIB = 1 << 20


def make(source, torrent, piece_bytes):
    source = pathlib.Path(source)
    files = libtorrent.file_storage()
    libtorrent.add_files(files, str(source))
    made = libtorrent.create_torrent(files, int(piece_bytes), flags=libtorrent.create_torrent.v2_only)
    libtorrent.set_piece_hashes(made, str(source.parent))
    pathlib.Path(torrent).write_bytes(libtorrent.bencode(made.generate()))


def settings_of(listen, queue):
    return {
        "listen_interfaces": listen, "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "alert_mask": libtorrent.alert.category_t.status_notification,
        # TCP without its obfuscation: what costs least.
        "enable_incoming_utp": False, "enable_outgoing_utp": False, "in_enc_policy": 2,
        "out_enc_policy": 2,
        # Everybody serves everybody, and nobody waits a minute for a peer that started later.
        "unchoke_slots_limit": -1, "choking_algorithm": 0, "min_reconnect_time": 1,
        "connection_speed": 200, "peer_timeout": 120,
        "max_out_request_queue": queue, "max_allowed_in_request_queue": 2 * queue + 100,
        # What its own documentation names for fast local networks.
        "send_buffer_watermark": 4 * MIB, "send_buffer_low_watermark": MIB,
        "send_buffer_watermark_factor": 150, "max_queued_disk_bytes": 64 * MIB, "aio_threads": 2,
        "hashing_threads": 1, "request_queue_time": 3}


def say(**event):
    print(json.dumps(event), flush=True)


def run(role, torrent, directory, listen, settings, peers):
    chosen = json.loads(settings)
    session = libtorrent.session(settings_of(listen, chosen["queue"]))
    flags = libtorrent.torrent_flags
    how = 0
    if role == "seed":
        how = flags.seed_mode | flags.upload_mode
        if chosen["super_seeding"]:
            how |= flags.super_seeding
    handle = session.add_torrent({"ti": libtorrent.torrent_info(torrent), "save_path": directory,
                                  "flags": how})
    while session.listen_port() == 0 or handle.status().state == handle.status().checking_files:
        session.wait_for_alert(20)
        session.pop_alerts()
    say(event="ready")
    sys.stdin.readline()
    for peer in peers:
        address, port = peer.rsplit(":", 1)
        handle.connect_peer((address, int(port)))
    # Alerts wake it: asking every few milliseconds would take the processor from the transfer.
    while not handle.status().is_seeding:
        session.wait_for_alert(200)
        session.pop_alerts()
    say(event="done")
    sys.stdin.readline()
    end = handle.status()
    say(event="end", sent=end.total_payload_upload, received=end.total_payload_download,
        duplicates=end.total_redundant_bytes + end.total_failed_bytes)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(*sys.argv[2:5])
    else:
        run(*sys.argv[1:6], sys.argv[6:])
