"""What the adapter libtorrent.py needs of libtorrent's Python module: torrents, and the settings of a
session. A module of its own, because that adapter has the module's name.
"""

import pathlib
import sys

# The adapter libtorrent.py beside this file is not what is meant.
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if pathlib.Path(entry).resolve() != HERE]
import libtorrent  # noqa: E402  (found through the line above)

# Files of more blocks of 16 KiB than this are mapped into memory; no file has so many.
NEVER_MAPPED = (1 << 31) - 1
ALWAYS_PWRITE = 1  # disk_write_mode
SEND_BUFFER_DEFAULT = 500 << 10  # send_buffer_watermark, which stays with its companions' defaults


def make(source, torrent, version, piece_bytes):
    """Writes a torrent of the directory `source`: of version "v1" (SHA-1 of each piece) or "v2" (a
    Merkle tree of SHA-256 for each file)."""
    files = libtorrent.file_storage()
    libtorrent.add_files(files, str(source))
    flags = {"v1": libtorrent.create_torrent.v1_only, "v2": libtorrent.create_torrent.v2_only}[version]
    made = libtorrent.create_torrent(files, piece_bytes, flags=flags)
    libtorrent.set_piece_hashes(made, str(pathlib.Path(source).parent))
    pathlib.Path(torrent).write_bytes(libtorrent.bencode(made.generate()))


def disk_settings(disk):
    """"mapped" reads and writes through mappings of the files, "pwrite" reads through mappings,
    "unmapped" maps nothing. Debian's module has no way to choose another disk back end than this."""
    if disk == "mapped":
        return {}
    chosen = {"disk_write_mode": ALWAYS_PWRITE}
    return chosen if disk == "pwrite" else {**chosen, "mmap_file_size_cutoff": NEVER_MAPPED}


def send_buffer_settings(watermark):
    if watermark == SEND_BUFFER_DEFAULT:
        return {}
    return {"send_buffer_watermark": watermark, "send_buffer_low_watermark": watermark // 4,
            "send_buffer_watermark_factor": 150}


def settings_of(listen, chosen):
    """A session's settings: those that a fast local network calls for, and what the adapter chose."""
    return {
        "listen_interfaces": listen, "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "alert_mask": libtorrent.alert.category_t.status_notification,
        # TCP without its obfuscation: what costs least.
        "enable_incoming_utp": False, "enable_outgoing_utp": False, "in_enc_policy": 2,
        "out_enc_policy": 2,
        # Everybody serves everybody, and nobody waits a minute for a peer that started later.
        "unchoke_slots_limit": -1, "choking_algorithm": 0, "min_reconnect_time": 1,
        "connection_speed": 200, "peer_timeout": 120,
        "max_out_request_queue": chosen["queue"],
        "max_allowed_in_request_queue": 2 * chosen["queue"] + 100,
        "max_queued_disk_bytes": chosen["queued_disk_bytes"],
        "aio_threads": chosen["aio_threads"], "hashing_threads": chosen["hashing_threads"],
        **disk_settings(chosen["disk"]), **send_buffer_settings(chosen["send_buffer_bytes"])}
