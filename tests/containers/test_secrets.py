"""Who gets which secret, and that what was made once stays."""

import os
import subprocess
import sys

import pytest

from cart_common.process.settings import SettingError
from cart_common.wire.fleet_key import Secret, as_text, bridge_token, new_key, read_key
from child_cart.api.access.account import check_new
from containers.secrets import SecretsSettings, hand_out
from tests.support.processes.programs import ROOT


@pytest.fixture
def settings(tmp_path):
    for name in ("carts", "bridges"):
        (tmp_path / name).mkdir()
    given, folders = [tmp_path / "given", tmp_path / "word"], [tmp_path / "carts", tmp_path / "bridges"]
    return SecretsSettings(*map(str, (*given, *folders)), os.getuid())


def handed_out(tmp_path):
    return (
        read_key(tmp_path / "carts/fleet.key", Secret.FLEET_KEY),
        read_key(tmp_path / "bridges/bridge.token", Secret.BRIDGE_TOKEN),
    )


@pytest.mark.parametrize("given", [None, "", "\n"])
def test_a_key_is_made_once(settings, tmp_path, given):
    if given is not None:
        (tmp_path / "given").write_text(given)
    made = hand_out(settings)
    assert made[0] == f"A fleet key was made; it is in {tmp_path / 'carts/fleet.key'}."
    key, token = handed_out(tmp_path)
    assert token == bridge_token(key)
    password = (tmp_path / "carts/admin.password").read_text().strip()
    written = [text.partition(":")[2] for text in (as_text(key, Secret.FLEET_KEY), as_text(token, Secret.BRIDGE_TOKEN))]
    assert not any(secret in sentence for secret in (password, *written) for sentence in made)
    earlier = [f"The {what} is the one made earlier." for what in ("fleet key", "password of the admin pages")]
    assert hand_out(settings) == earlier
    assert handed_out(tmp_path) == (key, token)
    assert (tmp_path / "carts/admin.password").read_text().strip() == password


def test_a_key_that_is_given_takes_the_place_of_one_that_was_made(settings, tmp_path):
    hand_out(settings)
    key = new_key()
    (tmp_path / "given").write_text(f"{as_text(key, Secret.FLEET_KEY)}\n")
    assert hand_out(settings)[0] == "The fleet key is the one that was given."
    assert handed_out(tmp_path) == (key, bridge_token(key))


def test_a_password_is_made_that_a_cart_takes_and_one_that_is_given_is_handed_on(settings, tmp_path):
    hand_out(settings)
    handed = tmp_path / "carts/admin.password"
    check_new(handed.read_text().strip())
    (tmp_path / "word").write_text("correct horse\n")
    hand_out(settings)
    assert handed.read_text() == "correct horse\n"


def test_bridges_get_the_token_alone_and_nobody_else_can_read_it(settings, tmp_path):
    hand_out(settings)
    assert [path.name for path in (tmp_path / "bridges").iterdir()] == ["bridge.token"]
    for path in (tmp_path / "bridges/bridge.token", *(tmp_path / "carts").iterdir()):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"short", b"\xff\xfe" * 20])
def test_a_key_that_is_none_ends_the_start_and_changes_nothing(settings, tmp_path, content):
    hand_out(settings)
    before = handed_out(tmp_path)
    (tmp_path / "given").write_bytes(content)
    with pytest.raises(SettingError):
        hand_out(settings)
    assert handed_out(tmp_path) == before


def test_a_kept_key_that_is_damaged_is_not_replaced(settings, tmp_path):
    (tmp_path / "carts/fleet.key").write_text("half a k")
    with pytest.raises(SettingError, match="The fleet key cannot be used: it does not hold a fleet-key"):
        hand_out(settings)
    assert (tmp_path / "carts/fleet.key").read_text() == "half a k"


def test_the_program_says_what_is_wrong(tmp_path):
    given = {"SECRETS_FLEET_KEY": "/nothing", "SECRETS_CARTS": str(tmp_path / "nowhere")}
    done = subprocess.run(
        [sys.executable, "-m", "containers.secrets"],
        cwd=ROOT,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("secrets: The secrets cannot be handed out: ")
    assert "No such file or directory" in done.stderr
