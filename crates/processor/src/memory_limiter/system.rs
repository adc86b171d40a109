//! The memory of the machine, of the control group and of the process.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// What is known of memory; `None` where the platform does not tell.
pub(crate) trait Memory: Send + Sync {
    /// What the process may have: its control group's limit, else the machine's memory.
    fn total(&self) -> Option<u64>;

    /// What the process has (resident set size).
    fn resident(&self) -> Option<u64>;
}

/// As somebody else says it; what the process may have is not known.
pub(crate) struct Told<F>(pub(crate) F);

impl<F: Fn() -> Option<u64> + Send + Sync> Memory for Told<F> {
    fn total(&self) -> Option<u64> {
        None
    }

    fn resident(&self) -> Option<u64> {
        (self.0)()
    }
}

/// As the operating system says it.
pub(crate) struct SystemMemory {
    system: Mutex<System>,
    pid: Option<Pid>,
}

impl SystemMemory {
    pub(crate) fn new() -> Self {
        Self { system: Mutex::new(System::new()), pid: sysinfo::get_current_pid().ok() }
    }
}

impl Memory for SystemMemory {
    fn total(&self) -> Option<u64> {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let machine = Some(system.total_memory()).filter(|bytes| *bytes > 0);
        group_limit(Path::new("/")).into_iter().chain(machine).min()
    }

    fn resident(&self) -> Option<u64> {
        let pid = self.pid?;
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, wanted);
        system.process(pid).map(sysinfo::Process::memory).filter(|bytes| *bytes > 0)
    }
}

/// The lowest limit of the process's control group and those above it, of version 2 or 1. Where the group's own folder is not seen, as in a
/// container that shares the machine's view of groups, the folder that is mounted is its own.
fn group_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| limit_of(root, line)).min()
}

/// `0::/path` is version 2; `7:memory:/path` is version 1.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (base, files) = if number == "0" && controllers.is_empty() {
        // Above `memory.high` the system slows the process down until it stands still.
        ("sys/fs/cgroup", &["memory.max", "memory.high"][..])
    } else if controllers.split(',').any(|controller| controller == "memory") {
        ("sys/fs/cgroup/memory", &["memory.limit_in_bytes"][..])
    } else {
        return None;
    };
    let group: PathBuf =
        Path::new(path).components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
    let base = root.join(base);
    // `max` is no number: no limit.
    let limit = |file: PathBuf| fs::read_to_string(base.join(file)).ok()?.trim().parse::<u64>().ok();
    group.ancestors().flat_map(|folder| files.iter().map(|file| folder.join(file))).filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose files these are.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_lowest_limit_on_the_way_to_the_root_counts() {
        for (files, limit) in [
            // Version 2: the service has no limit of its own, the slice above it has.
            (
                &[
                    ("proc/self/cgroup", "0::/system.slice/minicol.service\n"),
                    ("sys/fs/cgroup/system.slice/minicol.service/memory.max", "max\n"),
                    ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ][..],
                Some(1 << 30),
            ),
            // systemd's MemoryHigh lies below its MemoryMax.
            (
                &[
                    ("proc/self/cgroup", "0::/system.slice/minicol.service\n"),
                    ("sys/fs/cgroup/system.slice/minicol.service/memory.max", "536870912\n"),
                    ("sys/fs/cgroup/system.slice/minicol.service/memory.high", "419430400\n"),
                ],
                Some(400 << 20),
            ),
            // A container with a view of its own.
            (&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "536870912\n")], Some(512 << 20)),
            // One that shows the machine's path, of which nothing is mounted.
            (&[("proc/self/cgroup", "0::/docker/ab12\n"), ("sys/fs/cgroup/memory.max", "1000\n")], Some(1000)),
            // Version 1; what it writes for none is more than any machine has.
            (
                &[
                    ("proc/self/cgroup", "7:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n"),
                    ("sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes", "268435456\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(256 << 20),
            ),
            (&[("proc/self/cgroup", "0::/../..\n"), ("memory.max", "1\n")], None),
            (&[("proc/self/cgroup", "nonsense\n")], None),
            (&[], None),
        ] {
            let root = machine(files);
            assert_eq!(group_limit(root.path()), limit, "{files:?}");
        }
    }

    #[test]
    fn this_process_has_memory_and_may_have_more() {
        let memory = SystemMemory::new();
        let (total, resident) = (memory.total().unwrap(), memory.resident().unwrap());
        assert!(1 << 20 < resident && resident < total, "{resident} of {total}");
    }
}
