"""Contract of executors: what a step is given, and what is heard of it."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from lamina.errors import LaminaError, UserError
from lamina.executor.launcher import CannotStart
from lamina.executor.spec import Network, TmpfsMount, Ulimit
from lamina.testing.executors import PATH, Check, Rig, refusal


def exit_code_is_that_of_the_process(rig: Rig) -> None:
    """Every exit code arrives, 0 and 255 too."""
    for code in (0, 1, 3, 127, 255):
        assert rig.shell(f"exit {code}").status.code == code


def streams_are_kept_apart(rig: Rig) -> None:
    """Standard output and error arrive complete, byte for byte, each as its own stream."""
    ran = rig.shell("printf '\\377\\000\\n'; printf 'no' >&2")
    assert (ran.out, ran.err) == (b"\xff\0\n", b"no")
    large = rig.shell("head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2")
    assert (len(large.out), len(large.err)) == (5_000_000, 3_000_000)


def standard_input_is_empty(rig: Rig) -> None:
    """A step that reads its input finds the end at once."""
    assert rig.run("cat").succeeded() == b""


def environment_is_exact(rig: Rig) -> None:
    """A process sees the variables that it was given, HOME and PATH, and none of the builder's."""
    os.environ["LAMINA_CONTRACT_LEAK"] = "1"
    ran = rig.run("/bin/env", env=(PATH, ("A", "x y"), ("EMPTY", ""), ("B", "1=2"), ("N", "a\nb")))
    del os.environ["LAMINA_CONTRACT_LEAK"]
    lines = ran.succeeded().decode()
    assert sorted(lines.splitlines()) == sorted(
        ["PATH=/bin", "A=x y", "EMPTY=", "B=1=2", "N=a", "b", "HOME=/root"]
    )


def home_is_that_of_the_user(rig: Rig) -> None:
    """HOME comes from /etc/passwd unless it is set; without an entry it is /."""
    assert rig.shell("echo $HOME", env=(PATH, ("HOME", "/x"))).succeeded() == b"/x\n"
    if rig.ids > 5000:
        assert rig.shell("echo $HOME", user="alice").succeeded() == b"/home/alice\n"
        assert rig.shell("echo $HOME", user="4242").succeeded() == b"/\n"


def commands_are_looked_up_in_the_given_path(rig: Rig) -> None:
    """A name is searched in the container's PATH; without one in the usual directories."""
    assert rig.run("echo", "hi").succeeded() == b"hi\n"
    usual = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    assert rig.shell("echo $PATH", env=()).succeeded() == usual
    assert rig.run("echo", "hi", env=()).succeeded() == b"hi\n"


def working_directory_is_made(rig: Rig) -> None:
    """A missing working directory is made, with its parents, and belongs to the step's user."""
    ran = rig.shell("pwd", cwd="/srv/a b/c")
    assert ran.succeeded() == b"/srv/a b/c\n"
    assert (ran.upper / "srv/a b/c").is_dir()
    if rig.ids > 5000:
        owned = rig.shell("stat -c %u:%g:%a /srv/x", cwd="/srv/x", user="alice")
        assert owned.succeeded() == b"1000:1001:755\n"


def working_directory_that_is_a_file_is_an_error(rig: Rig) -> None:
    error = _refusal(rig, "true", cwd="/etc/passwd")
    assert "not a directory" in error.message, error.message


def users_are_looked_up_in_the_image(rig: Rig) -> None:
    """Names, numbers, groups and supplementary groups, as Docker looks them up."""
    table = {
        "": ("0", "0", "0 10"),
        "root": ("0", "0", "0 10"),
        "0:0": ("0", "0", "0"),
        "alice": ("1000", "1001", "1001 10 100"),
        "1000": ("1000", "1001", "1001 10 100"),
        "alice:users": ("1000", "100", "100"),
        "alice:7": ("1000", "7", "7"),
        "1000:7": ("1000", "7", "7"),
        "4242": ("4242", "0", "0"),
        "root:wheel": ("0", "10", "10"),
    }
    for user, (uid, gid, groups) in table.items():
        if rig.ids == 1 and (uid != "0" or gid != "0"):
            continue
        out = rig.shell("id -u; id -g; id -G", user=user).succeeded().decode().splitlines()
        assert out[:2] == [uid, gid], (user, out)
        if rig.ids > 1:
            assert sorted(out[2].split()) == sorted(groups.split()), (user, out)


def unknown_users_are_errors(rig: Rig) -> None:
    """The message is the one that users of Docker know."""
    error = _refusal(rig, "true", user="bob")
    expected = "unable to find user bob: no matching entries in passwd file"
    assert error.message == expected, error.message
    error = _refusal(rig, "true", user="root:nobodies")
    expected = "unable to find group nobodies: no matching entries in group file"
    assert error.message == expected, error.message


def users_without_a_place_are_errors(rig: Rig) -> None:
    """Where a user namespace has root alone, another user is refused with a hint."""
    if rig.ids == 1 and rig.name == "namespaces":
        error = _refusal(rig, "true", user="alice")
        assert error.hint is not None
        assert "subuid" in error.hint


def missing_commands_are_errors(rig: Rig) -> None:
    """A command that cannot be started is the user's error, with the reason."""
    error = _refusal(rig, "nosuch")
    assert "nosuch" in error.message, error.message
    assert "not found in $PATH" in error.message, error.message
    assert getattr(error, "exit_status", None) == 127
    error = _refusal(rig, "/no/such")
    assert "no such file or directory" in error.message.lower(), error.message
    error = _refusal(rig, "/etc/passwd")
    assert "permission denied" in error.message.lower(), error.message
    assert getattr(error, "exit_status", None) == 126


def unusable_programs_are_errors(rig: Rig) -> None:
    """A script for a missing interpreter and a file of no known format are told apart."""
    base = rig.directory()
    (base / "script").write_text("#!/no/interpreter\n")
    (base / "noise").write_text("not a program\n")
    for name in ("script", "noise"):
        (base / name).chmod(0o755)
    for name, reason in (("script", "no such file or directory"), ("noise", "exec format error")):
        try:
            ran = rig.run(f"/{name}", base=base)
        except CannotStart as error:
            said = error.message
        else:
            assert rig.name == "oci", "it ran"  # for runc the command has started by then
            assert ran.status.code != 0
            said = ran.err.decode()
        assert reason in said.lower(), said


def hosts_and_resolv_conf_are_made(rig: Rig) -> None:
    """/etc/hosts has localhost, the container's name and the extra hosts; name servers are set."""
    out = rig.shell(
        "cat /etc/hosts; hostname", extra_hosts=(("db", "10.1.2.3"), ("six", "fe80::1"))
    ).succeeded()
    assert out.decode().splitlines() == [
        "127.0.0.1\tlocalhost buildkitsandbox",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.1.2.3\tdb",
        "fe80::1\tsix",
        "buildkitsandbox",
    ]
    named = rig.shell("cat /etc/hosts; hostname", hostname="box").succeeded().decode()
    assert "127.0.0.1\tlocalhost box\n" in named
    assert named.endswith("\nbox\n")
    assert b"nameserver " in rig.shell("cat /etc/resolv.conf").succeeded()
    assert rig.shell("echo x >> /etc/hosts").status.code != 0


def network_none_has_a_loopback_alone(rig: Rig) -> None:
    """Without a network there is `lo`, it is up, and there is nothing else."""
    ran = rig.shell("ls /sys/class/net; ip -o link show lo", network=Network.NONE)
    lines = ran.succeeded().decode().splitlines()
    assert lines[0] == "lo", lines
    assert "UP" in lines[1], lines


def network_host_is_that_of_the_machine(rig: Rig) -> None:
    out = rig.shell("readlink /proc/self/ns/net").succeeded().decode().strip()
    assert out == os.readlink("/proc/self/ns/net")


def shared_memory_has_its_size(rig: Rig) -> None:
    """/dev/shm is as large as asked, 64 MiB by default."""
    for size, kibibytes in ((None, 65536), (1 << 20, 1024), (0, 65536)):
        others = {} if size is None else {"shm_size": size}
        out = rig.shell("df -k /dev/shm | tail -n 1", **others).succeeded()
        assert int(out.split()[1]) == kibibytes, out


def limits_are_set(rig: Rig) -> None:
    """Soft and hard limits are those asked for."""
    limits = (Ulimit(name="nofile", soft=64, hard=128), Ulimit(name="core", soft=0, hard=0))
    out = rig.shell("ulimit -Sn; ulimit -Hn; ulimit -c", ulimits=limits).succeeded()
    assert out == b"64\n128\n0\n", out


def limits_beyond_the_machine_are_errors(rig: Rig) -> None:
    """Not even root may open more files than the kernel can count."""
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    limit = Ulimit(name="nofile", soft=most + 1, hard=most + 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= most
    assert _refusal(rig, "true", ulimits=(limit,)).message


def temporary_file_systems_have_size_and_mode(rig: Rig) -> None:
    mounts = (TmpfsMount(target="/t", size=1 << 20), TmpfsMount(target="/u", mode=0o700))
    ran = rig.shell("stat -c %a /t /u; head -c 2000000 /dev/zero > /t/x || echo full", *mounts)
    assert ran.out == b"1777\n700\nfull\n", (ran.out, ran.err)


def umask_is_the_usual_one(rig: Rig) -> None:
    assert rig.shell("umask").succeeded() == b"0022\n"


def _refusal(rig: Rig, *args: str, **others: object) -> LaminaError:
    error = refusal(lambda: rig.run(*args, **others))
    assert isinstance(error, UserError) or "ulimits" in others, repr(error)
    return error


CHECKS: tuple[Check, ...] = (
    exit_code_is_that_of_the_process,
    streams_are_kept_apart,
    standard_input_is_empty,
    environment_is_exact,
    home_is_that_of_the_user,
    commands_are_looked_up_in_the_given_path,
    working_directory_is_made,
    working_directory_that_is_a_file_is_an_error,
    users_are_looked_up_in_the_image,
    unknown_users_are_errors,
    users_without_a_place_are_errors,
    missing_commands_are_errors,
    unusable_programs_are_errors,
    hosts_and_resolv_conf_are_made,
    network_none_has_a_loopback_alone,
    network_host_is_that_of_the_machine,
    shared_memory_has_its_size,
    limits_are_set,
    limits_beyond_the_machine_are_errors,
    temporary_file_systems_have_size_and_mode,
    umask_is_the_usual_one,
)
