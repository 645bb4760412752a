"""A bad configuration is refused with field, value, what was expected and what to do; a good one means one thing."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pssmr.cluster_create import create_cluster
from pssmr.cluster_files import render
from pssmr.cluster_keys import generate_key
from pssmr.config import ClientConfig, ClusterConfig, ReplicaConfig
from pssmr.errors import ConfigError, Error
from pssmr.settings import Settings

Document = dict[str, Any]


def key(i: int) -> str:
    return f"{i + 1:064x}"


def document(replicas: int = 4, fault_model: str = "bft") -> Document:
    """A good configuration, in the shape of a `cluster.toml`."""
    return {
        "name": "bank",
        "id": "0123456789abcdef" * 2,
        "fault_model": fault_model,
        "replicas": [
            {"id": i, "key": key(i), "peers": f"127.0.0.1:{7100 + i}", "clients": f"127.0.0.1:{7200 + i}"}
            for i in range(replicas)
        ],
        "clients": [{"name": "client", "key": key(100)}],
        "settings": {},
    }


def put(*path_and_value: Any) -> Callable[[Document], None]:
    """A change of one field."""
    *path, last, value = path_and_value

    def change(target: Any) -> None:
        for step in path:
            target = target[step]
        target[last] = value

    return change


def drop(*path: Any) -> Callable[[Document], None]:
    """The loss of one field."""

    def change(target: Any) -> None:
        for step in path[:-1]:
            target = target[step]
        del target[path[-1]]

    return change


def replica(i: int, name: str, value: Any) -> Callable[[Document], None]:
    return put("replicas", i, name, value)


def setting(name: str, value: Any) -> Callable[[Document], None]:
    return put("settings", name, value)


# What is broken, the field that the error names, and words that it has.
BROKEN: list[tuple[str, Callable[[Document], None], str, list[str]]] = [
    ("unknown field", put("fault_modle", "bft"), "fault_modle", ["did you mean 'fault_model'?"]),
    ("unknown setting", setting("windows", 3), "settings.windows", ["did you mean 'window'?"]),
    ("unknown field of a replica", replica(1, "peer", "x"), "replicas[1].peer", ["did you mean 'peers'?"]),
    ("unknown field of a client", put("clients", 0, "nom", "x"), "clients[0].nom", ["fields are name, key"]),
    ("no name", drop("name"), "name", ["missing"]),
    ("no id", drop("id"), "id", ["missing"]),
    ("no fault model", drop("fault_model"), "fault_model", ["missing", '"bft" or "cft"']),
    ("no replicas", drop("replicas"), "replicas", ["missing", "[[replicas]]"]),
    ("no clients", drop("clients"), "clients", ["missing"]),
    ("no key of a replica", drop("replicas", 2, "key"), "replicas[2].key", ["missing", "pssmr keygen"]),
    ("no address of a replica", drop("replicas", 0, "peers"), "replicas[0].peers", ["missing", "host:port"]),
    ("a name of another type", put("name", 5), "name", ["5 (int)", "text"]),
    ("a name with a slash", put("name", "a/b"), "name", ["'a/b'", "small letters"]),
    ("an id that is short", put("id", "abc"), "id", ["3 characters", "32 hexadecimal"]),
    ("an id of other letters", put("id", "z" * 32), "id", ["'z' is not a hexadecimal digit"]),
    ("an unknown fault model", put("fault_model", "byzantine"), "fault_model", ["'byzantine'", '"bft" or "cft"']),
    ("a fault model in capitals", put("fault_model", "BFT"), "fault_model", ["'BFT'"]),
    ("replicas that are no list", put("replicas", {"0": {}}), "replicas", ["dict", "[[replicas]]"]),
    ("a replica that is no table", put("replicas", 1, "r1"), "replicas[1]", ["'r1' (str)", "table"]),
    ("settings that are no table", put("settings", 3), "settings", ["3 (int)", "table"]),
    ("no replica at all", put("replicas", []), "replicas", ["0 replicas", "1 to 64"]),
    ("three replicas for bft", lambda d: d["replicas"].pop(), "replicas", ['"bft", which needs 4', '"cft"']),
    ("an id twice", replica(3, "id", 0), "replicas[3].id", ["'0' is also replicas[0].id"]),
    ("an id beyond 63", replica(3, "id", 64), "replicas[3].id", ["is 64", "0 to 63"]),
    ("a negative id", replica(0, "id", -1), "replicas[0].id", ["-1", "0 to 63"]),
    ("an id that is text", replica(0, "id", "0"), "replicas[0].id", ["'0' (str)", "whole number"]),
    ("an id that is a truth value", replica(1, "id", True), "replicas[1].id", ["True (bool)", "whole number"]),
    ("a key that is short", replica(0, "key", "12"), "replicas[0].key", ["2 characters", "64 hexadecimal"]),
    ("a key of other letters", replica(0, "key", "x" * 64), "replicas[0].key", ["'x' is not"]),
    ("a key that is a number", replica(0, "key", 12), "replicas[0].key", ["12 (int)"]),
    ("a key of zeros", replica(0, "key", "0" * 64), "replicas[0].key", ["zeros"]),
    ("one key for two replicas", replica(2, "key", key(0)), "replicas[2].key", ["also replicas[0].key"]),
    ("a replica's key for a client", put("clients", 0, "key", key(3)), "clients[0].key", ["also replicas[3].key"]),
    ("a negative epoch", put("epoch", -1), "epoch", ["is -1", "0 to 2147483648"]),
    ("an epoch that is text", put("epoch", "1"), "epoch", ["'1' (str)", "whole number"]),
    ("an administrator that is no key", put("administrator", "me"), "administrator",
     ["2 characters", "64 hexadecimal"]),
    ("an administrator that is a file", put("administrator", ["a.pem"]), "administrator", ["(list)"]),
    ("a replica as administrator", put("administrator", key(2)), "administrator", ["also replicas[2].key"]),
    ("one address twice", replica(1, "peers", "127.0.0.1:7100"), "replicas[1].peers", ["also replicas[0].peers"]),
    ("localhost for the same", replica(1, "peers", "LocalHost:7100"), "replicas[1].peers", ["also replicas[0].peers"]),
    ("peers' address for clients", replica(0, "clients", "127.0.0.1:7100"), "replicas[0].clients", ["also"]),
    ("an address without a port", replica(0, "peers", "127.0.0.1"), "replicas[0].peers", ["no port", "host:port"]),
    ("an address without a host", replica(0, "peers", ":7100"), "replicas[0].peers", ["no host"]),
    ("an empty address", replica(0, "peers", ""), "replicas[0].peers", ["no host"]),
    ("port 0", replica(0, "peers", "127.0.0.1:0"), "replicas[0].peers", ["port is not 1 to 65535"]),
    ("port 65536", replica(0, "clients", "127.0.0.1:65536"), "replicas[0].clients", ["port is not 1 to 65535"]),
    ("a port that is text", replica(0, "peers", "127.0.0.1:http"), "replicas[0].peers", ["port is not"]),
    ("a host with a space", replica(0, "peers", "my host:7100"), "replicas[0].peers", ["'my host'"]),
    ("an impossible IPv4 address", replica(0, "peers", "127.0.0.300:7100"), "replicas[0].peers", ["'127.0.0.300'"]),
    ("IPv6 without brackets", replica(0, "peers", "::1:7100"), "replicas[0].peers", ["'::1'", "[::1]:7100"]),
    ("a bad address to listen at", replica(0, "listen_peers", "x"), "replicas[0].listen_peers", ["no port"]),
    ("a client's name twice", lambda d: d["clients"].append({"name": "client", "key": key(50)}), "clients[1].name",
     ["also clients[0].name"]),
    ("a client called like a replica's key", put("clients", 0, "name", "replica-0"), "clients[0].name", ["key file"]),
    ("a client called like the administrator's key", put("clients", 0, "name", "administrator"), "clients[0].name",
     ["key file"]),
    ("a client's name that is a path", put("clients", 0, "name", "../x"), "clients[0].name", ["'../x'"]),
    ("window 0", setting("window", 0), "settings.window", ["is 0", "1 to 128 slots"]),
    ("a window too wide", setting("window", 129), "settings.window", ["is 129"]),
    ("a negative number", setting("pending_requests_max", -5), "settings.pending_requests_max", ["-5"]),
    ("a fraction", setting("request_timeout_ms", 0.5), "settings.request_timeout_ms", ["0.5 (float)", "whole number"]),
    ("a number as text", setting("workers", "4"), "settings.workers", ["'4' (str)"]),
    ("no worker", setting("workers", 0), "settings.workers", ["1 to 256 threads"]),
    ("a time-out too short", setting("request_timeout_ms", 1), "settings.request_timeout_ms", ["10 to 600000 ms"]),
    ("a greatest time-out below the first", setting("request_timeout_max_ms", 100), "settings.request_timeout_max_ms",
     ["at least request_timeout_ms", "500"]),
    ("a queue smaller than a batch", setting("pending_bytes_max", 2000), "settings.pending_bytes_max",
     ["at least batch_bytes_max"]),
    ("retention smaller than two windows", setting("retained_slots_max", 20), "settings.retained_slots_max",
     ["2 * window", "32"]),
    ("a batch smaller than a request", setting("batch_bytes_max", 4096), "settings.batch_bytes_max",
     ["request_bytes_max + 512"]),
    ("fewer workers at most than at first", lambda d: d.update(settings={"workers": 4, "workers_max": 3}),
     "settings.workers_max", ["at least workers", "4"]),
    ("more workers at least than at first",
     lambda d: d.update(settings={"workers": 4, "workers_min": 5, "workers_max": 6}),
     "settings.workers", ["at least workers_min", "5"]),
    ("an unknown scheduler", setting("scheduler", "keyd"), "settings.scheduler", ["did you mean 'keyed'?"]),
    ("unknown durability", setting("durability", "disk"), "settings.durability", ["'disk'", '"sync"', '"memory"']),
    ("keys that are no path", put("keys", 3), "keys", ["3 (int)", "path"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "words"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_configuration_is_refused_with_field_value_and_remedy(
    change: Callable[[Document], None], field: str, words: list[str]
) -> None:
    broken = document()
    change(broken)
    with pytest.raises(ConfigError) as caught:
        ClusterConfig.load(broken)
    assert caught.value.field == field
    assert caught.value.remedy
    assert str(caught.value).startswith(f"{field}: ")
    for word in words:
        assert word in str(caught.value)


def test_a_good_document_is_taken_and_has_the_defaults() -> None:
    config = ClusterConfig.load(document())
    assert [r.id for r in config.replicas] == [0, 1, 2, 3]
    assert config.faults == 1
    assert config.notes == ()
    assert config.settings == Settings()
    assert config.settings.workers >= 2


@pytest.mark.parametrize("address", ["replica-0.example:7100", "[::1]:7100", "10.0.0.1:65535", "node_1:1", "a:7100"])
def test_addresses_that_are_good(address: str) -> None:
    good = document()
    replica(0, "peers", address)(good)
    assert ClusterConfig.load(good).replicas[0].peers_listener == address


def test_a_replica_listens_elsewhere_if_told_to() -> None:
    good = document()
    replica(0, "listen_clients", "0.0.0.0:9999")(good)
    first = ClusterConfig.load(good).replicas[0]
    assert (first.clients, first.clients_listener) == ("127.0.0.1:7200", "0.0.0.0:9999")


@pytest.mark.parametrize(
    ("replicas", "fault_model", "faults", "note"),
    [
        (1, "bft", 0, "survives no fault"),
        (1, "cft", 0, "survives no fault"),
        (3, "cft", 1, ""),
        (4, "cft", 1, "as many as 3"),
        (5, "cft", 2, ""),
        (4, "bft", 1, ""),
        (6, "bft", 1, "as many as 4"),
        (7, "bft", 2, ""),
    ],
)
def test_how_many_faults_a_cluster_survives(replicas: int, fault_model: str, faults: int, note: str) -> None:
    config = ClusterConfig.load(document(replicas, fault_model))
    assert config.faults == faults
    assert bool(config.notes) == bool(note)
    assert note in " ".join(config.notes)


@pytest.mark.parametrize(("replicas", "fault_model"), [(2, "bft"), (3, "bft"), (2, "cft")])
def test_sizes_that_make_no_sense_are_refused(replicas: int, fault_model: str) -> None:
    with pytest.raises(ConfigError, match=f"{replicas} replicas"):
        ClusterConfig.load(document(replicas, fault_model))


def test_more_replicas_than_there_are_ids_are_refused() -> None:
    many = document(65)
    replica(64, "id", 0)(many)
    with pytest.raises(ConfigError, match="65 replicas: a cluster has 1 to 64"):
        ClusterConfig.load(many)


def test_ids_are_names_in_any_order_with_holes() -> None:
    holes = document()
    for place, number in enumerate((63, 5, 0, 7)):
        replica(place, "id", number)(holes)
    config = ClusterConfig.load(holes)
    assert config.replica(5).key == key(1)
    assert config.membership.ids == (63, 5, 0, 7)
    with pytest.raises(ConfigError, match=r"there is no replica 1; the ids are 0, 5, 7, 63"):
        config.replica(1)


@pytest.mark.parametrize(("replicas", "fault_model"), [(2, "bft"), (3, "bft"), (2, "cft")])
def test_a_cluster_that_changes_passes_through_sizes_that_none_is_made_with(replicas: int, fault_model: str) -> None:
    config = ClusterConfig.load({**document(replicas, fault_model), "epoch": 1})
    assert config.faults == 0
    assert "as many as 1" in " ".join(config.notes)


def test_the_python_object_checks_itself_too() -> None:
    with pytest.raises(ConfigError, match=r"^peers: is '127.0.0.1', which has no port"):
        ReplicaConfig(id=0, key=key(0), peers="127.0.0.1", clients="127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"^window: is 0"):
        Settings(window=0)
    with pytest.raises(ConfigError, match=r"^clients\[0\]: is 'x'"):
        ClusterConfig(name="a", id="0" * 32, fault_model="bft", replicas=(), clients=("x",))  # type: ignore[arg-type]


def test_a_configuration_does_not_change() -> None:
    config = ClusterConfig.load(document())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.name = "other"  # type: ignore[misc]


def test_a_config_error_is_a_pssmr_error_and_survives_pickling() -> None:
    error = ConfigError("is 5", field="window", remedy="write 6", source="cluster.toml")
    assert isinstance(error, Error)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "cluster.toml: window: is 5; write 6"
    assert copy.copy(error).remedy == "write 6"


# Sources


def test_the_toml_that_is_written_reads_back_as_the_same(cluster_directory: Path) -> None:
    config = ClusterConfig.load(cluster_directory)
    assert ClusterConfig.load(cluster_directory / "cluster.toml") == config
    special = dataclasses.replace(
        config,
        epoch=12,
        replicas=(config.replicas[3], dataclasses.replace(config.replicas[1], id=60), *config.replicas[:1]),
        settings=Settings(window=5, scheduler="sequential", workers=3),
    )
    (cluster_directory / "cluster.toml").write_text(render(special))
    assert ClusterConfig.load(cluster_directory) == special


def test_the_toml_that_is_written_says_what_every_setting_means(cluster_config: ClusterConfig) -> None:
    text = render(cluster_config)
    for each in dataclasses.fields(Settings):
        assert f"# {each.name} = " in text


def test_every_setting_of_the_toml_can_be_uncommented(cluster_directory: Path) -> None:
    file = cluster_directory / "cluster.toml"
    head, settings = file.read_text().split("[settings]\n")
    file.write_text(head + "[settings]\n" + "\n".join(line.removeprefix("# ") for line in settings.splitlines()))
    assert ClusterConfig.load(file).settings == Settings()


@pytest.mark.parametrize(
    "text",
    [
        "cluster = pssmr.config.ClusterConfig.load(document)",
        "def cluster():\n    return pssmr.config.ClusterConfig.load(document)",
    ],
)
def test_a_python_file_yields_an_object_or_a_function(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cluster.py"
    file.write_text(f"import pssmr.config\ndocument = {document()!r}\n{text}\n")
    config = ClusterConfig.load(tmp_path)
    assert config.name == "bank"
    assert config.keys == tmp_path / "keys"
    assert config.replica_data(2) == tmp_path / "data" / "replica-2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters = 1", "has nothing called `cluster`"),
        ("cluster = 5", "`cluster` is 5, not a ClusterConfig"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("def cluster(): raise RuntimeError('no vault')", "no vault"),
        ("cluster = (", "raised SyntaxError"),
    ],
)
def test_a_python_file_that_yields_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "cluster.py"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        ClusterConfig.load(file)
    assert message in str(caught.value)
    assert caught.value.source == str(file)


def test_an_error_in_a_file_names_the_file(cluster_directory: Path) -> None:
    file = cluster_directory / "cluster.toml"
    file.write_text(file.read_text().replace('"bft"', '"raft"'))
    with pytest.raises(ConfigError) as caught:
        ClusterConfig.load(cluster_directory)
    assert str(caught.value).startswith(f"{file}: fault_model: is 'raft'")


def test_toml_that_is_broken_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text('name = "bank\n')
    with pytest.raises(ConfigError, match=r"is not TOML: .*line 1"):
        ClusterConfig.load(file)
    file.write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        ClusterConfig.load(file)


def test_a_place_without_a_configuration_is_refused(tmp_path: Path, cluster_directory: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        ClusterConfig.load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"holds no cluster\.toml and no cluster\.py; `pssmr init"):
        ClusterConfig.load(tmp_path)
    with pytest.raises(ConfigError, match=r"neither a \.toml nor a \.py file"):
        ClusterConfig.load(cluster_directory / "keys" / "client.pem")
    (cluster_directory / "cluster.py").write_text("")
    with pytest.raises(ConfigError, match="holds both"):
        ClusterConfig.load(cluster_directory)


# Keys


def test_a_new_cluster_has_a_key_file_for_everyone_that_nobody_else_can_read(cluster_directory: Path) -> None:
    keys = cluster_directory / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {f.name for f in keys.iterdir()} == {
        *(f"replica-{i}.pem" for i in range(4)),
        "client.pem",
        "administrator.pem",
    }
    assert {stat.S_IMODE(f.stat().st_mode) for f in keys.iterdir()} == {0o600}
    config = ClusterConfig.load(cluster_directory)
    assert "PRIVATE KEY" in config.replica_key(3)
    assert config.client_key() == config.client_key("client") == config.client_key(keys / "client.pem")


def test_a_cluster_is_not_made_over_another_nor_made_half(cluster_directory: Path, tmp_path: Path) -> None:
    before = (cluster_directory / "cluster.toml").read_text()
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        create_cluster(cluster_directory, address=lambda i: (f"a:{i + 1}", f"b:{i + 1}"))
    assert (cluster_directory / "cluster.toml").read_text() == before
    with pytest.raises(ConfigError, match="needs 4"):
        create_cluster(tmp_path / "new", replicas=3, address=lambda i: (f"a:{i + 1}", f"b:{i + 1}"))
    assert not (tmp_path / "new").exists()


def test_a_key_file_that_others_can_read_is_refused(cluster_config: ClusterConfig) -> None:
    assert cluster_config.keys is not None
    file = cluster_config.keys / "replica-1.pem"
    for mode in (0o644, 0o640, 0o604, 0o620):
        file.chmod(mode)
        with pytest.raises(ConfigError, match=f"has mode {mode:04o}.*chmod 600 {file}"):
            cluster_config.replica_key(1)
    file.chmod(0o400)
    cluster_config.replica_key(1)


def test_a_key_file_that_is_not_there_is_refused(cluster_config: ClusterConfig) -> None:
    assert cluster_config.keys is not None
    (cluster_config.keys / "replica-1.pem").unlink()
    with pytest.raises(ConfigError, match="there is no such key file"):
        cluster_config.replica_key(1)
    (cluster_config.keys / "client.pem").unlink()
    with pytest.raises(ConfigError, match=r"client.pem: there is no such key file"):
        cluster_config.client_key()


def test_a_key_file_that_can_not_be_read_is_refused(cluster_config: ClusterConfig) -> None:
    assert cluster_config.keys is not None
    with pytest.raises(ConfigError, match="can't be read"):
        cluster_config.replica_key(1, cluster_config.keys)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_key_file_without_a_key_is_refused(cluster_config: ClusterConfig, content: bytes) -> None:
    assert cluster_config.keys is not None
    file = cluster_config.keys / "replica-1.pem"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="holds no Ed25519 private key") as caught:
        cluster_config.replica_key(1)
    assert "hello" not in str(caught.value)


def test_a_key_of_somebody_else_is_refused(cluster_config: ClusterConfig, tmp_path: Path) -> None:
    assert cluster_config.keys is not None
    with pytest.raises(ConfigError, match="not the key of replica 1"):
        cluster_config.replica_key(1, cluster_config.keys / "replica-2.pem")
    with pytest.raises(ConfigError, match="not the key of client 'client'"):
        cluster_config.client_key(cluster_config.keys / "replica-2.pem")
    stranger = tmp_path / "stranger.pem"
    public = generate_key(stranger)
    with pytest.raises(ConfigError, match=f"holds the private key of {public}"):
        cluster_config.client_key(stranger)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "me.pem"
    generate_key(file)
    with pytest.raises(ConfigError, match="never overwritten"):
        generate_key(file)


def test_the_administrator_has_a_key_if_there_is_an_administrator(
    cluster_config: ClusterConfig, tmp_path: Path
) -> None:
    assert "PRIVATE KEY" in cluster_config.administrator_key()
    assert cluster_config.keys is not None
    with pytest.raises(ConfigError, match="not the key of the administrator"):
        cluster_config.administrator_key(cluster_config.keys / "client.pem")
    create_cluster(tmp_path / "fixed", address=lambda i: (f"a:{i + 1}", f"b:{i + 1}"), administrator=False)
    fixed = ClusterConfig.load(tmp_path / "fixed")
    assert fixed.administrator == ""
    assert not (tmp_path / "fixed/keys/administrator.pem").exists()
    with pytest.raises(ConfigError, match="the membership of this cluster can't change"):
        fixed.administrator_key()


def test_unknown_replicas_and_clients_have_no_key(cluster_config: ClusterConfig) -> None:
    with pytest.raises(ConfigError, match="there is no replica 4; the ids are 0 to 3"):
        cluster_config.replica_key(4)
    with pytest.raises(ConfigError, match="there is no client 'clinet', did you mean 'client'"):
        cluster_config.client_key("clinet")


def test_the_first_client_whose_key_is_there_is_taken(cluster_config: ClusterConfig) -> None:
    elsewhere = ClientConfig(name="elsewhere", key=key(7))
    config = dataclasses.replace(cluster_config, clients=(elsewhere, *cluster_config.clients))
    assert config.client_key() == cluster_config.client_key()
    nobody = dataclasses.replace(cluster_config, clients=())
    with pytest.raises(ConfigError, match="there is no client in this configuration"):
        nobody.client_key()


def test_a_configuration_without_a_key_directory_says_so() -> None:
    with pytest.raises(ConfigError, match="names no directory of private keys"):
        ClusterConfig.load(document()).replica_key(0)


def test_the_example_configuration_loads() -> None:
    config = ClusterConfig.load(Path(__file__).parents[2] / "config")
    assert config.faults == 1
    assert config.replicas[0].clients_listener == "0.0.0.0:7101"
