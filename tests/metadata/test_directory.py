"""The layout of Hasura's CLI: includes are followed, within the directory only, and nothing in it is overlooked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tycostream.errors import ConfigError, TycoError
from tycostream.metadata.directory import directory, read_directory, write_directory


def folder(root: Path, **files: str) -> Path:
    """Files by path; ``__`` is a slash, and all are YAML unless they say otherwise."""
    for name, text in {"version": "version: 3\n", **files}.items():
        file = root / (name.replace("__", "/") + ("" if "." in name else ".yaml"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_includes_are_followed_from_the_file_that_has_them(tmp_path: Path) -> None:
    made = folder(
        tmp_path,
        databases__databases='- name: default\n  tables: "!include default/tables/tables.yaml"\n',
        databases__default__tables__tables='- "!include public_a.yaml"\n- table: {schema: public, name: b}\n',
        databases__default__tables__public_a="table: {schema: public, name: a}\n",
        allow_list="- collection: app\n",
        actions="actions: []\ncustom_types: {enums: [], objects: []}\n",
        remote_schemas="[]\n",
        network="{}\n",
        cron_triggers="",
        unheard_of="x: 1\n",
    )
    (tmp_path / "actions.graphql").write_text("type Mutation { a: Int }\n")
    assert read_directory(made) == {
        "version": 3,
        "sources": [
            {
                "name": "default",
                "tables": [
                    {"table": {"schema": "public", "name": "a"}},
                    {"table": {"schema": "public", "name": "b"}},
                ],
            }
        ],
        "allowlist": [{"collection": "app"}],
        "actions": [],
        "custom_types": {"enums": [], "objects": []},
        "remote_schemas": [],
        "network": {},
        "unheard_of": {"x": 1},
        "actions.graphql": "type Mutation { a: Int }",
    }


def test_a_project_is_as_good_as_its_metadata(tmp_path: Path) -> None:
    folder(tmp_path / "metadata", databases__databases="[]\n")
    assert read_directory(tmp_path) == {"version": 3, "sources": []}


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("nowhere.yaml", "databases.yaml includes {root}/databases/nowhere.yaml, and there is no such file"),
        ("databases.yaml", "{root}/databases/databases.yaml includes itself, by way of databases.yaml"),
        ("../../secret.yaml", "includes {root}/databases/../../secret.yaml, which is outside {root}"),
        ("/etc/hostname", "includes /etc/hostname, which is outside {root}"),
        ("link.yaml", "includes {root}/databases/link.yaml, which is outside {root}"),
        ("twice.yaml", "includes more than 10000 files"),
        ("bytes.yaml", "{root}/databases/bytes.yaml is not UTF-8"),
        ("absent.yaml", "includes {root}/databases/absent.yaml, and there is no such file"),
        ("loop.yaml", "includes '{root}/databases/loop.yaml': Symlink loop"),
        (r"zero\0.yaml", r"includes '{root}/databases/zero\x00.yaml': embedded null byte"),
        ("a" * 5000, "aaa': File name too long"),
    ],
)
def test_includes_that_are_refused(tmp_path: Path, include: str, message: str) -> None:
    root = tmp_path / "metadata"
    (tmp_path / "secret.yaml").write_text("password\n")
    folder(root, databases__databases=f'- "!include {include}"\n')
    (root / "databases" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (root / "databases" / "loop.yaml").symlink_to(root / "databases" / "loop.yaml")
    (root / "databases" / "bytes.yaml").write_bytes(b"\xff")
    for i in range(17):  # 65,536 readings, were they not counted
        after = f"t{i + 1}.yaml"
        name = "twice.yaml" if i == 0 else f"t{i}.yaml"
        (root / "databases" / name).write_text(
            f'- "!include {after}"\n- "!include {after}"\n' if i < 16 else "1\n"
        )
    with pytest.raises(TycoError) as caught:
        read_directory(root)
    assert message.format(root=root) in caught.value.message


def test_a_link_in_the_place_of_a_file_leads_nowhere_else(tmp_path: Path) -> None:
    root = folder(tmp_path / "metadata")
    (tmp_path / "secret.yaml").write_text("password\n")
    (root / "network.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(TycoError, match="which is outside"):
        read_directory(root)
    (root / "network.yaml").unlink()
    (root / "actions.graphql").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(TycoError, match="which is outside"):
        read_directory(root)


def test_includes_are_followed_so_deep_and_no_deeper(tmp_path: Path) -> None:
    chain = {f"databases__f{i}": f'"!include f{i + 1}.yaml"\n' for i in range(2000)}
    folder(tmp_path, databases__databases='"!include f1950.yaml"\n', databases__f2000="[]\n", **chain)
    assert read_directory(tmp_path) == {"version": 3, "sources": []}
    folder(tmp_path, databases__databases='"!include f0.yaml"\n')
    with pytest.raises(TycoError) as caught:
        read_directory(tmp_path)
    assert caught.value.message.endswith("is nested more than 100 levels deep, includes followed")


def test_what_is_included_again_and_again_counts_as_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tycostream.metadata.directory._VALUES_MAX", 1_000)
    again = '"!include many.yaml", ' * 20
    folder(tmp_path, databases__databases=f"[{again}]\n", databases__many=f"[{'1, ' * 60}]\n")
    with pytest.raises(TycoError) as caught:
        read_directory(tmp_path)
    assert caught.value.message == f"{tmp_path} holds more than 1000 values"


def test_mistakes_of_yaml_have_their_place(tmp_path: Path) -> None:
    folder(tmp_path, databases__databases="- name: [\n")
    with pytest.raises(ConfigError) as caught:
        read_directory(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/databases/databases.yaml:2:1: is not YAML")


def test_what_is_no_metadata(tmp_path: Path) -> None:
    with pytest.raises(TycoError, match=r"has no version\.yaml") as caught:
        read_directory(tmp_path)
    assert "hasura metadata export" in caught.value.hint
    folder(tmp_path, actions="[1]\n")
    with pytest.raises(TycoError, match=r"actions\.yaml is a list, but must be a mapping"):
        read_directory(tmp_path)
    (tmp_path / "actions.yaml").unlink()
    (tmp_path / "version.yaml").write_text("version: 2\n")
    with pytest.raises(TycoError, match="has version 2"):
        read_directory(tmp_path)


def test_what_is_written() -> None:
    table = {"table": {"schema": "sales", "name": "orders"}, "configuration": {"comment": "${x}"}}
    metadata = {
        "version": 3,
        "sources": [{"name": "default", "tables": [table]}],
        "allowlist": [{"collection": "a"}],
    }
    assert directory(metadata) == {
        "version.yaml": "version: 3\n",
        "databases/databases.yaml": '- {name: default, tables: "!include default/tables/tables.yaml"}\n',
        "databases/default/tables/tables.yaml": '- "!include sales_orders.yaml"\n',
        "databases/default/tables/sales_orders.yaml": (
            'table:\n  schema: sales\n  name: orders\nconfiguration:\n  comment: "${x}"\n'
        ),
        "allow_list.yaml": "- {collection: a}\n",
    }


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for place in (tmp_path, tmp_path / "x"):
        with pytest.raises(TycoError, match="exists already, and is not empty"):
            write_directory({"version": 3}, place)
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_text_that_would_be_read_as_a_file_is_refused() -> None:
    with pytest.raises(TycoError, match="would be read as a file's name") as caught:
        directory({"version": 3, "network": {"x": ["!include /etc/passwd"]}})
    assert caught.value.hint == "export JSON"
