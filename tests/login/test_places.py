from pathlib import Path

from broker.login.places import expand, npm_roots


def test_roots_are_those_that_exist_the_configured_first(tmp_path: Path) -> None:
    home = tmp_path / "home"
    nvm = home / ".nvm/versions/node/v22/lib/node_modules"
    chosen = tmp_path / "prefix/lib/node_modules"
    system = tmp_path / "usr"
    for folder in (nvm, chosen, system):
        folder.mkdir(parents=True)
    env = {"HOME": str(home), "NPM_CONFIG_PREFIX": str(tmp_path / "prefix"), "PREFIX": "relative", "PATH": ""}
    assert npm_roots(env, (str(system), "/no/such/folder")) == [chosen, nvm, system]


def test_the_tool_on_the_path_leads_to_its_packages(tmp_path: Path) -> None:
    script = tmp_path / "odd/node_modules/@google/gemini-cli/bundle/gemini.js"
    script.parent.mkdir(parents=True)
    script.write_text("#!/usr/bin/env node\n")
    script.chmod(0o700)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gemini").symlink_to(script)
    env = {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}
    assert npm_roots(env, ()) == [tmp_path / "odd/node_modules"]


def test_patterns(tmp_path: Path) -> None:
    bundle = tmp_path / "node_modules/@google/gemini-cli/bundle"
    bundle.mkdir(parents=True)
    for name in ("chunk-b.js", "chunk-a.js", "notes.txt"):
        (bundle / name).touch()
    (bundle / "folder.js").mkdir()
    roots = [tmp_path / "node_modules", tmp_path / "absent"]
    found = list(expand("{npm-root}/@google/gemini-cli/bundle/*.js", {}, roots))
    assert [path.name for path in found] == ["chunk-a.js", "chunk-b.js"]
    env = {"HOME": str(tmp_path)}
    assert len(list(expand("~/node_modules/@google/gemini-cli/bundle/*.js", env, []))) == 2
    assert len(list(expand(f"{bundle}/*.txt", {}, []))) == 1


def test_a_program_is_found_on_the_path(tmp_path: Path) -> None:
    program = tmp_path / "opt/agy"
    program.parent.mkdir()
    program.touch(mode=0o700)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/agy").symlink_to(program)
    assert list(expand("{path}/agy", {"PATH": str(tmp_path / "bin")}, [])) == [program]
    assert list(expand("{path}/agy", {"PATH": ""}, [])) == []
