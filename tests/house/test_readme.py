"""What the README tells people to type works."""

import pytest

from tests.house.readme import ROOT, Block, blocks, checkout, run

README = ROOT / "README.md"


def test_blocks_are_found_with_their_lines_and_without_their_indent():
    page = "a\n\n```sh run\none\ntwo\n```\n\n```sh\nnot this\n```\n- b\n  ```sh run\n  three\n  ```\n"
    assert blocks(page) == [Block(4, "one\ntwo\n"), Block(13, "three\n")]


def test_a_block_fails_as_a_whole_when_one_of_its_commands_fails(tmp_path):
    assert run(Block(1, "false | true\necho reached"), tmp_path).returncode != 0
    assert run(Block(1, "echo reached"), tmp_path).stdout == "reached\n"


def test_the_readme_has_commands_to_run():
    assert blocks(README.read_text(encoding="utf-8"))


@pytest.mark.timeout(600)
def test_the_readmes_commands_run_in_order(tmp_path):
    folder = checkout(tmp_path / "checkout")
    for block in blocks(README.read_text(encoding="utf-8")):
        done = run(block, folder, timeout=300)
        assert done.returncode == 0, f"README.md:{block.line}\n{block.code}\n{done.stdout}\n{done.stderr}"
