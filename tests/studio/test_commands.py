"""`nelbo studio` and `nelbo export` from the shell."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from nelbo.cli import main
from nelbo.studio.link import FACTS, PAGES
from nelbo.studio.server import listen


def test_export_writes_one_file_with_the_state(tmp_path, capsys):
    out = tmp_path / "kl.html"
    assert main(["export", "kl", str(out), "--state", "mu_p=2&sigma_q=0.5"]) == 0
    text = out.read_text("utf-8")
    assert '"mu_p": "2", "sigma_q": "0.5"' in text
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", text)
    assert "opens in any browser" in capsys.readouterr().out


def test_export_of_an_unknown_page_names_the_known_ones(capsys):
    assert main(["export", "pca"]) == 1
    assert "no page 'pca' to export; expected one of kl, metric, elbo, reparam, playground" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "known"), [("studio", FACTS), ("export", PAGES)])
def test_the_help_names_every_page(capsys, command, known):
    with contextlib.suppress(SystemExit):
        main([command, "--help"])
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert set(known) <= words


def test_a_taken_port_is_named(capsys):
    taken = listen(0)
    try:
        assert main(["studio", "--port", str(taken.getsockname()[1]), "--no-open"]) == 1
    finally:
        taken.close()
    assert re.search(r"port \d+ is in use on 127\.0\.0\.1; write --port \d+", capsys.readouterr().err)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_studio_prints_its_address_serves_and_ends_with_ctrl_c(tmp_path):
    code = "import sys; from nelbo.cli import main; sys.exit(main(['studio', '--port', '0', '--no-open']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        address = re.search(r"http://\S+", process.stdout.readline()).group(0)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(address) as page:
            assert "nelbo studio" in page.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(600) in (0, 130)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
